from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tcae.data.synthetic.appearance import AppearanceConfig
from tcae.data.synthetic.camera import CameraConfig
from tcae.data.synthetic.head import UNITS
from tcae.data.synthetic.occluders import OccluderConfig, hand_motion
from tcae.data.synthetic.setting import SettingConfig
from tcae.data.synthetic.world import World

STILL = CameraConfig(
    jitter_shift=0, jitter_scale=0, jitter_roll=0, blur=0, coarse=0, noise=0, exposure=0, tint=0,
    compression=100,
)  # fmt: skip
BARE = World(identities=40, videos=2, frames=6, image_size=64, camera=STILL)
KINDS = ("glasses", "sunglasses", "hats", "microphones", "hands")


def wearing(**shares):
    return dataclasses.replace(BARE, occluders=OccluderConfig(**shares))


def change(world, identity, state=None, other=BARE):
    """How much each pixel of a scene differs from that of the bare world."""
    videos = [w.video(identity, 0) for w in (world, other)]
    pictures = [video.scene(state or video.neutral()) for video in videos]
    return np.abs(pictures[0].astype(int) - pictures[1]).sum(2)


@pytest.mark.parametrize("kind", [*KINDS, "shadows"])
def test_a_share_of_videos_has_it_and_all_others_stay_as_they_were(kind):
    setting = SettingConfig(shadows=0.4 if kind == "shadows" else 0)
    shares = {} if kind == "shadows" else {kind: 0.4}
    world = dataclasses.replace(wearing(**shares), setting=setting)
    changed = []
    for identity in range(10):
        videos = world.video(identity, 1), BARE.video(identity, 1)
        states = [video.state(3)._replace(hand=1.0) for video in videos]
        for a, b in zip(*states, strict=True):
            assert np.array_equal(a, b)
        changed.append(
            not np.array_equal(*(v.scene(s) for v, s in zip(videos, states, strict=True)))
        )
    assert 1 <= sum(changed) <= 8


def test_more_of_one_thing_changes_no_other():
    one, two = wearing(glasses=1), wearing(glasses=1, hats=1)
    for identity in range(3):
        lower = change(two, identity, other=one)[28:]  # below the brows
        assert (lower > 0).mean() < 0.02
        assert (change(one, identity)[20:36] > 0).mean() > 0.05


@pytest.mark.parametrize("kind", ["glasses", "sunglasses"])
def test_glasses_stay_before_the_eyes_whichever_way_the_head_turns(kind):
    world = wearing(**{kind: 1})
    for identity in range(4):
        for turn in ([0, 0, 0], [25, 0, 0], [-25, 5, 0], [0, -15, 0], [0, 15, 0]):
            state = world.video(identity, 0).neutral()._replace(attitude=np.array(turn, float))
            eyes = world.video(identity, 0).points(state)[:2]
            drawn = change(world, identity, state)
            for x, y in eyes.round().astype(int):
                assert drawn[y - 7 : y + 8, x - 7 : x + 8].sum() > 0.2 * drawn.sum()
            rows, columns = np.nonzero(drawn > 30)
            assert abs(columns.mean() - eyes[:, 0].mean()) < 5
            assert abs(rows.mean() - eyes[:, 1].mean()) < 5


def test_dark_lenses_hide_a_blink_and_clear_ones_show_it():
    seen = {"": [], "glasses": [], "sunglasses": []}
    for identity in range(10):
        for kind, found in seen.items():
            video = wearing(**({kind: 1} if kind else {})).video(identity, 0)
            blink = video.neutral().intensities.copy()
            blink[UNITS.index(45)] = 1
            shut = video.scene(video.neutral()._replace(intensities=blink)).astype(int)
            found.append(np.abs(shut - video.scene(video.neutral())).sum())
    assert np.median(seen["glasses"]) > 0.5 * np.median(seen[""])
    assert np.median(seen["sunglasses"]) < 0.15 * np.median(seen[""])


def test_dark_lenses_move_as_the_head_does_in_the_truth():
    video = wearing(sunglasses=1).video(2, 0)
    rest = video.neutral()
    act = np.zeros_like(rest.intensities)
    act[[UNITS.index(n) for n in (1, 2, 45)]] = 1
    acting = rest._replace(intensities=act)
    x, y = video.points(rest)[0].round().astype(int)
    assert np.abs(video.flow(rest, acting).flow[:, y, x]).max() < 0.2
    assert np.abs(BARE.video(2, 0).flow(rest, acting).flow[:, y, x]).max() > 0.5
    assert not video.flow(rest, acting).face[y, x] and video.flow(rest, acting).head[y, x]


def test_hats_cover_the_top_and_leave_the_face_free():
    low = []
    for identity in range(16):
        world = wearing(hats=1)
        drawn = change(world, identity) > 30
        assert drawn[:6].mean() > 0.1
        video = world.video(identity, 0)
        for x, y in video.points(video.neutral()).round().astype(int):
            assert not drawn[y - 2 : y + 3, x - 2 : x + 3].any()
        low.append((video.person.look.man, drawn[30:].mean() > 0.1))
    # Headscarves also cover cheeks and neck. Some women wear them, men do not.
    assert not any(covered for man, covered in low if man)
    assert {covered for man, covered in low if not man} == {True, False}


def test_microphones_are_below_the_eyes():
    """Balls on a stem below them, headsets from an ear to the mouth."""
    for identity in range(12):
        drawn = change(wearing(microphones=1), identity) > 30
        assert drawn[20:].sum() > 0.9 * drawn.sum() > 0


def test_hands_come_and_go():
    world = wearing(hands=1)
    for identity in range(8):
        rest = world.video(identity, 0).neutral()
        assert change(world, identity, rest).max() == 0
        drawn = change(world, identity, rest._replace(hand=1.0)) > 30
        assert 0.03 < drawn.mean() < 0.5
        assert drawn[:20].mean() < 0.05  # brows and forehead stay free
    times = np.arange(100) / 5
    raised = np.stack([hand_motion(np.random.default_rng(i), times) for i in range(200)])
    assert raised.min() == 0 and raised.max() == 1
    assert raised.mean() == pytest.approx(0.5, abs=0.05)
    assert np.abs(np.diff(raised)).mean() < 0.15
    assert np.array_equal(hand_motion(np.random.default_rng(3), times[:20]), raised[3, :20])


def test_hands_have_the_colour_of_the_skin():
    world = wearing(hands=1)
    shades = []
    for identity in range(12):
        video = world.video(identity, 0)
        state = video.neutral()._replace(hand=1.0)
        drawn = change(world, identity, state) > 60
        drawn[58:] = False  # sleeves
        shades.append((video.scene(state)[drawn].mean(), video.person.look.skin.mean()))
    assert np.corrcoef(np.transpose(shades))[0, 1] > 0.7


def test_cast_shadows_only_darken():
    world = dataclasses.replace(BARE, setting=SettingConfig(lamps=0.6, shadows=1))
    deepest = []
    for identity in range(8):
        video, open_ = (world.video(identity, 0) for _ in range(2))
        open_._light = dataclasses.replace(video._light, shadow=0.0)
        shadow = open_.scene(video.neutral()).astype(int) - video.scene(video.neutral())
        assert shadow.min() >= 0
        deepest.append(np.quantile(shadow[20:52, 18:46].max(2), 0.95))
    assert np.median(deepest) > 20


def lids(world, identity, closed):
    """The rows around an eye, brightness, at 128 pixels; dark is what is below the skin's."""
    video = dataclasses.replace(world, image_size=128).video(identity, 0)
    act = np.zeros_like(video.neutral().intensities)
    act[UNITS.index(45)] = closed
    x, y = video.points(video.neutral())[0].round().astype(int)
    grey = video.scene(video.neutral()._replace(intensities=act)).mean(2)[
        y - 9 : y + 10, x - 8 : x + 9
    ]
    return grey / np.median(grey)


def test_lashes_are_a_dark_line_that_blinks_carry_down():
    lashed = dataclasses.replace(BARE, appearance=AppearanceConfig(lashes=1.0))
    rows, darker = [], []
    for identity in range(6):
        change_ = [lids(BARE, identity, c) - lids(lashed, identity, c) for c in (0.0, 1.0)]
        weights = [np.clip(c, 0.05, None).sum(1) - 17 * 0.05 for c in change_]
        rows.append([(np.arange(19) * w).sum() / w.sum() for w in weights])
        darker.append(lids(BARE, identity, 1.0).min() - lids(lashed, identity, 1.0).min())
    opened, shut = np.mean(rows, 0)
    assert shut > opened + 2
    assert np.mean(darker) > 0.1
    other = dataclasses.replace(BARE, appearance=AppearanceConfig(lashes=0.5))
    pictures = [w.person(3).look.texture.astype(int) for w in (BARE, other)]
    assert 0 < (pictures[0] != pictures[1]).any(2).mean() < 0.02  # the lids alone


@pytest.mark.parametrize(
    "options", [{"glasses": 1.5}, {"hands": -0.1}, {"glasses": 0.7, "sunglasses": 0.7}]
)
def test_wrong_options_are_refused(options):
    with pytest.raises(ValueError, match=r"occluders\."):
        OccluderConfig(**options)
    with pytest.raises(ValueError, match=r"setting\.shadows"):
        SettingConfig(shadows=2)
