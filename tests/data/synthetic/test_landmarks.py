"""What a landmarker trained on real faces makes of the renders.

Runs where the extra [landmarker] is installed.
"""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

from tcae.data.synthetic.appearance import AppearanceConfig
from tcae.data.synthetic.camera import CameraConfig
from tcae.data.synthetic.occluders import OccluderConfig
from tcae.data.synthetic.setting import SettingConfig
from tcae.data.synthetic.world import World
from tcae.evaluation.landmarker import blendshapes, face_landmarker

FACES = 200


@pytest.fixture(scope="module")
def landmarker():
    with contextlib.ExitStack() as stack:
        try:
            detect = stack.enter_context(face_landmarker())
        except ValueError as error:
            pytest.skip(str(error))
        yield detect


def euler(matrix):
    """Yaw (to the picture's right), pitch (down) and roll (clockwise) in degrees."""
    r = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    yaw, pitch = np.arctan2(r[0, 2], r[2, 2]), np.arcsin(-r[1, 2])
    return np.degrees([yaw, pitch, -np.arctan2(r[1, 0], r[1, 1])])


def test_faces_are_found_and_their_pose_is_read(landmarker):
    world = World(seed=1)
    truth, seen = [], []
    for identity in range(FACES):
        video = world.video(identity, 0)
        state = video.state(identity % len(video))
        result = landmarker(video.picture(state, identity % len(video)))
        if result.facial_transformation_matrixes:
            truth.append(state.pose)
            seen.append(euler(result.facial_transformation_matrixes[0]))
    assert len(seen) >= 0.98 * FACES
    yaw, pitch, roll = (
        np.corrcoef(t, s)[0, 1]
        for t, s in zip(*(np.transpose(truth), np.transpose(seen)), strict=True)
    )
    print(f"found {len(seen)} of {FACES}; correlation {yaw:.3f} {pitch:.3f} {roll:.3f}")
    assert yaw >= 0.9
    assert pitch >= 0.5
    assert roll >= 0.5


TALK_SHOW = World(
    seed=1,
    occluders=OccluderConfig(glasses=0.3, sunglasses=0.05, hats=0.1, microphones=0.12, hands=0.12),
    setting=SettingConfig(shadows=0.3),
    appearance=AppearanceConfig(lashes=0.8),
    camera=CameraConfig(codec=0.4, sharpening=0.8, shutter=0.05),
)


def test_faces_are_found_behind_what_hides_them(landmarker):
    found = 0
    for identity in range(FACES):
        video = TALK_SHOW.video(identity, 0)
        frame = identity % len(video)
        found += bool(landmarker(video.picture(video.state(frame), frame)).face_landmarks)
    print(f"found {found} of {FACES}")
    assert found >= 0.95 * FACES


# Action unit -> blendshapes of the landmarker, whose outputs for AU 6 and 9 are dead.
BLENDSHAPES = {
    1: ["browInnerUp"], 2: ["browOuterUpLeft", "browOuterUpRight"],
    4: ["browDownLeft", "browDownRight"], 5: ["eyeWideLeft", "eyeWideRight"],
    7: ["eyeSquintLeft", "eyeSquintRight"], 10: ["mouthUpperUpLeft", "mouthUpperUpRight"],
    12: ["mouthSmileLeft", "mouthSmileRight"], 17: ["mouthShrugLower"],
    20: ["mouthStretchLeft", "mouthStretchRight"], 26: ["jawOpen"],
    45: ["eyeBlinkLeft", "eyeBlinkRight"],
}  # fmt: skip


def test_action_units_are_seen(landmarker):
    """Each unit at full intensity against the face at rest, over people."""
    from tcae.data.synthetic.head import UNITS

    world, people = World(seed=2), 15
    scores = {number: ([], []) for number in BLENDSHAPES}
    for identity in range(people):
        video = world.video(identity, 0)
        neutral = video.neutral()
        for number in [0, *BLENDSHAPES]:
            intensities = np.zeros_like(neutral.intensities)
            if number:
                intensities[UNITS.index(number)] = 1
            result = landmarker(video.scene(neutral._replace(intensities=intensities)))
            values = blendshapes(result)
            if values is None:
                continue
            for unit, names in BLENDSHAPES.items():
                if number in (0, unit):
                    scores[unit][number > 0].append(sum(values[n] for n in names))
    auc = {
        unit: np.mean(np.array(active)[:, None] > np.array(rest))
        for unit, (rest, active) in scores.items()
    }
    print({unit: round(float(value), 2) for unit, value in auc.items()})
    assert all(value >= 0.8 for value in auc.values()), auc


def test_faces_at_rest_show_no_action(landmarker):
    """Brows at the height of people's: neither raised nor drawn down. No smile, no open jaw."""
    world = World(seed=3, image_size=256)
    videos = [world.video(identity, 0) for identity in range(16)]
    found = [blendshapes(landmarker(video.scene(video.neutral()))) for video in videos]
    faces = [face for face in found if face is not None]
    assert len(faces) >= 14
    for shape in ("browInnerUp", "browOuterUpLeft", "browDownLeft", "mouthSmileLeft", "jawOpen",
                  "eyeBlinkLeft", "mouthStretchLeft"):  # fmt: skip
        assert np.mean([face[shape] for face in faces]) < 0.35, shape


def test_a_smile_is_broad_and_bares_teeth(landmarker):
    from tcae.data.synthetic.head import UNITS

    world = World(seed=4, image_size=256)
    scores = []
    for identity in range(16):
        video = world.video(identity, 0)
        neutral = video.neutral()
        intensities = neutral.intensities.copy()
        intensities[[UNITS.index(number) for number in (6, 12, 25)]] = 1
        found = blendshapes(landmarker(video.scene(neutral._replace(intensities=intensities))))
        if found is not None:
            scores.append([found["mouthSmileLeft"], found["mouthUpperUpLeft"]])
    assert np.mean(scores, 0)[0] > 0.8
    assert np.mean(scores, 0)[1] > 0.2
