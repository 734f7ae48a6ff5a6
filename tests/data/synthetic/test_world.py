from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from tcae.data.align import DEFAULT_TEMPLATE
from tcae.data.splits import split_of
from tcae.data.synthetic.camera import CameraConfig
from tcae.data.synthetic.head import PARTS, UNITS, Head
from tcae.data.synthetic.motion import MotionConfig
from tcae.data.synthetic.setting import SettingConfig
from tcae.data.synthetic.truth import truth_pair, truth_pairs
from tcae.data.synthetic.world import World, identity_name
from tcae_ops import warp

STILL = CameraConfig(
    jitter_shift=0, jitter_scale=0, jitter_roll=0, blur=0, coarse=0, noise=0, exposure=0, tint=0,
    compression=100,
)  # fmt: skip
SMALL = World(identities=40, videos=2, frames=6, image_size=64, camera=STILL)


def acting(video, **units):
    """State of the face at rest with some units (AU12=1.0) in action."""
    state = video.neutral()
    intensities = np.zeros_like(state.intensities)
    for name, strength in units.items():
        intensities[UNITS.index(int(name[2:]))] = strength
    return state._replace(intensities=intensities)


def rows_of_change(video, state):
    change = np.abs(video.scene(state).astype(int) - video.scene(video.neutral())).sum((1, 2))
    return change / max(change.sum(), 1)


def test_pictures_depend_on_the_seed_alone():
    world = dataclasses.replace(SMALL, camera=CameraConfig())
    one = world.video(3, 1)
    pictures = [one.picture(one.state(frame), frame) for frame in (4, 0)]
    world.video(7, 0).picture(world.video(7, 0).state(0), 0)
    again = dataclasses.replace(world).video(3, 1)
    assert np.array_equal(pictures[1], again.picture(again.state(0), 0))
    assert np.array_equal(pictures[0], again.picture(again.state(4), 4))
    other = dataclasses.replace(world, seed=1).video(3, 1)
    assert not np.array_equal(pictures[1], other.picture(other.state(0), 0))


DRAWN = """
import sys, numpy as np
from tcae.data.synthetic.truth import truth_pair
from tcae.data.synthetic.world import World

pair = truth_pair(World(identities=3, image_size=64, seed=4), 2, 1, 3, 15)
np.savez(sys.argv[1], target=pair.target, pose_only=pair.pose_only, flow=pair.flow.flow)
"""


def test_pictures_do_not_depend_on_the_processor(tmp_path):
    """Compiled for one without AVX and fused multiply-add, as for this one."""
    plain = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    found = []
    for name, options in (("here", {}), ("plain", plain)):
        own = {"NUMBA_CACHE_DIR": str(tmp_path / name), **options}
        path = tmp_path / f"{name}.npz"
        subprocess.run([sys.executable, "-c", DRAWN, path], env={**os.environ, **own}, check=True)
        found.append(np.load(path))
    for name in ("target", "pose_only"):
        a, b = (pictures[name].astype(int) for pictures in found)
        assert a.std() > 20
        assert np.abs(a - b).max() <= 2 and (a != b).mean() <= 0.001
    np.testing.assert_allclose(found[0]["flow"], found[1]["flow"], atol=1e-3)


def test_longer_videos_begin_alike():
    short, long = SMALL.video(2, 0), dataclasses.replace(SMALL, frames=50).video(2, 0)
    for a, b in zip(short.state(5), long.state(5), strict=True):
        assert np.array_equal(a, b)


def test_no_two_videos_of_a_person_are_alike():
    faces = [SMALL.video(5, k) for k in range(2)]
    pictures = [video.scene(video.neutral()).astype(float) for video in faces]
    assert np.abs(pictures[0] - pictures[1]).mean() > 8
    assert faces[0].person is faces[1].person
    assert not np.array_equal(faces[0].state(0).intensities, faces[1].state(0).intensities)


def test_people_look_different():
    rooms = dataclasses.replace(SMALL, setting=SettingConfig(lamps=0, tint=0, clutter=0))
    middle = np.s_[16:48, 16:48]
    faces = [rooms.video(i, 0) for i in range(8)]
    pictures = [video.scene(video.neutral())[middle].astype(float) for video in faces]
    for i in range(8):
        for j in range(i):
            assert np.abs(pictures[i] - pictures[j]).mean() > 6


def test_faces_lie_on_the_template():
    for identity in range(12):
        video = SMALL.video(identity, 0)
        away = video.points(video.neutral()) - DEFAULT_TEMPLATE.pixels(64)
        assert np.abs(away.mean(0)).max() < 1e-4  # a similarity fit leaves no common shift
        assert np.abs(away).max() < 5


UPPER, LOWER = (1, 2, 4, 5, 7, 45), (10, 12, 14, 15, 17, 20, 23, 24, 25, 26)


@pytest.mark.parametrize("unit", [u for u in UNITS if u in UPPER + LOWER])
def test_units_change_the_face_where_they_should(unit):
    eyes = int((DEFAULT_TEMPLATE.points[0][1] + 0.17) * 64)
    for identity in range(3):
        video = SMALL.video(identity, 0)
        rows = rows_of_change(video, acting(video, **{f"AU{unit}": 1.0}))
        upper = rows[:eyes].sum()
        assert upper > 0.8 if unit in UPPER else upper < 0.2


def test_intensity_is_what_is_seen():
    """The eye of a blink closes steadily, the picture of a smile departs steadily from rest."""
    video = SMALL.video(1, 0)
    rest = video.scene(video.neutral()).astype(int)
    for name in ("AU12", "AU26", "AU45", "AU04"):
        changes = [
            np.abs(video.scene(acting(video, **{name: strength})) - rest).mean()
            for strength in (0.25, 0.5, 0.75, 1.0)
        ]
        assert changes == sorted(changes) and changes[0] > 0


def test_wrinkles_deepen_with_action():
    head = Head.load()
    forehead = [head.landmarks[f"{side}_brow_0"] for side in ("left", "right")]
    video = World(image_size=128, camera=STILL).video(4, 0)
    frown = acting(video, AU4=1.0)
    x, y = video.view(frown).pixels[forehead].mean(0).astype(int)
    patch = np.s_[y - 12 : y + 12, x - 8 : x + 8]

    def roughness(state):
        grey = video.scene(state)[patch].mean(2)
        return np.abs(np.diff(grey, axis=1)).mean()

    assert roughness(frown) > roughness(video.neutral())


def test_the_pose_that_is_told_is_seen():
    """A nose moves against the eyes as the yaw says; the eyes' line tilts as the roll says."""
    world = dataclasses.replace(SMALL, camera=dataclasses.replace(STILL, upright=False))
    yaws, noses, rolls, lines = [], [], [], []
    for identity in range(30):
        video = world.video(identity, 0)
        state = video.state(2)
        points = video.points(state)
        yaws.append(state.pose[0])
        noses.append(points[2, 0] - points[:2, 0].mean())
        rolls.append(state.pose[2])
        lines.append(np.degrees(np.arctan2(*(points[1] - points[0])[::-1])))
    assert np.corrcoef(yaws, noses)[0, 1] > 0.85
    assert np.abs(np.subtract(rolls, lines)).mean() < 2
    upright = SMALL.video(0, 0)
    tilts = [upright.state(frame).pose[2] for frame in range(6)]
    assert np.abs(tilts).max() < 4  # what is left is due to yaw and to unlike sides


def test_backgrounds_move_against_an_aligned_face():
    world = dataclasses.replace(SMALL, motion=MotionConfig(yaw=0, pitch=0, roll=0, sway=0.1))
    video = world.video(0, 0)
    assert np.abs(video.state(0).crop - video.state(5).crop).max() < 0.2
    swayed = video.neutral()._replace(place=np.array([0.25, 0.0]))
    change = np.abs(video.scene(swayed).astype(int) - video.scene(video.neutral())).sum(2)
    nose = video.points(swayed)[2].astype(int)
    assert change[nose[1], nose[0]] == 0 and change.max() > 0


def test_the_camera_sees_heads_move_as_fast_as_they_do():
    world = dataclasses.replace(
        SMALL, fps=100.0, frames=60, camera=dataclasses.replace(STILL, shutter=0.02)
    )
    video = world.video(0, 0)
    states = [video.state(frame) for frame in range(60)]
    attitude = np.diff([state.attitude[:2] for state in states], axis=0) * 100
    place = np.diff([state.place for state in states], axis=0) * 100
    # 1.6 head units before the neck; an eye's distance is a head unit and a third of the crop.
    expected = np.radians(attitude) * 1.6 / 3 + place
    np.testing.assert_allclose(video._motion[:-1], expected, rtol=0.15, atol=0.02)
    assert np.array_equal(SMALL.video(0, 0)._motion, np.zeros((6, 2)))


# Truth -------------------------------------------------------------------------------------------


def l1(a, b, where):
    return float(np.abs(a.astype(float) - b)[where].mean())


def warped(picture, flow):
    image = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
    out = warp(image, torch.from_numpy(flow)[None])
    return out[0].permute(1, 2, 0).numpy()


@pytest.fixture(scope="module")
def pairs():
    world = World(identities=60, frames=10, image_size=128, camera=STILL)
    return list(truth_pairs(world, "val", 16))


def test_flows_carry_the_source_onto_the_truth(pairs):
    for flow, target, most in (
        ("au_flow", "au_only", 0.6), ("pose_flow", "pose_only", 0.5), ("flow", "target", 0.5),
    ):  # fmt: skip
        before, after = [], []
        for pair in pairs:
            truth = getattr(pair, flow)
            where = truth.visible
            before.append(l1(pair.source, getattr(pair, target), where))
            moved = warped(pair.source, truth.flow)
            after.append(l1(moved, getattr(pair, target), where))
        assert np.mean(after) < most * np.mean(before)


def test_what_is_kept_is_kept(pairs):
    """The AU-only face has the source's pose, the pose-only face its facial action."""
    for pair in pairs:
        calm = np.abs(pair.intensities[0] - pair.intensities[1]).max() < 1e-9
        assert calm or np.abs(pair.au_flow.flow).max() > 0
        ears_and_neck = np.s_[:, 100:, :]  # below the chin only the pose moves anything
        assert np.abs(pair.au_flow.flow[ears_and_neck]).mean() < 0.5
    lengths = [
        np.mean([np.hypot(*getattr(pair, name).flow)[pair.flow.head].mean() for pair in pairs])
        for name in ("au_flow", "pose_flow", "flow")
    ]
    assert lengths[0] < lengths[1] <= lengths[2] * 1.2


def test_pairs_of_unseen_people():
    world = dataclasses.replace(SMALL, image_size=32)
    for split in ("val", "test"):
        found = list(truth_pairs(world, split, 12, seed=3))
        assert {split_of(pair.identity) for pair in found} == {split}
        assert all(a != b for a, b in (pair.frames for pair in found))
    fresh = list(truth_pairs(world, "fresh", 3))
    assert [pair.identity for pair in fresh] == [identity_name(i) for i in (40, 41, 42)]
    again = list(truth_pairs(world, "fresh", 3))
    assert all(np.array_equal(a.target, b.target) for a, b in zip(fresh, again, strict=True))


def test_truth_is_that_of_the_packed_frames():
    pair = truth_pair(SMALL, 4, 1, 2, 5)
    video = SMALL.video(4, 1)
    assert np.array_equal(pair.source, video.picture(video.state(2), 2))
    assert np.allclose(pair.intensities[1], video.state(5).intensities.mean(1))
    assert np.array_equal(pair.pose[0], video.state(2).pose)


def test_pairs_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="frames must be at least 2"):
        next(truth_pairs(dataclasses.replace(SMALL, frames=1), "val", 1))
    with pytest.raises(ValueError, match="none of the 1 people is in split 'test'"):
        next(truth_pairs(dataclasses.replace(SMALL, identities=1), "test", 1))


@pytest.mark.parametrize(
    "options", [{"identities": 0}, {"frames": 0}, {"fps": 0.0}, {"image_size": 8}, {"seed": -1}]
)
def test_wrong_options_are_refused(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be from"):
        World(**options)


def test_every_part_is_painted():
    look = SMALL.person(0).look
    head = Head.load()
    points = head.uv[head.uv_triangles].mean(1) * len(look.texture)
    columns, rows = points.astype(int).T
    for number, name in enumerate(PARTS):
        if name == "hair":  # of the bald it is not
            continue
        colours = look.texture[rows, columns, :3][head.parts == number]
        assert colours.max(1).min() > 0, name
