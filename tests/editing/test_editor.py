"""The editor that ships, on rendered people, against the truth of their world."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

import tcae
from tcae.data.synthetic.expression import ACTION_UNITS
from tcae.editing.editor import AGREEMENT_FILE, GOAL, FaceEditor
from tcae.editing.placement import fade
from tcae.weights import FOLDER

PEOPLE = range(3)


def logits(aus: dict[str, float]) -> np.ndarray:
    values = np.array([*aus.values()])
    return np.log(values / (1 - values))


def test_nothing_asked_is_nothing_changed(editor, portrait):
    face = portrait(0)
    for nothing in ({}, {"aus": {}}, {"aus": face}, {"pose": face}, {"aus": face, "pose": face}):
        assert np.array_equal(editor(face, **nothing), face.picture)


def test_asking_for_what_is_there_changes_nearly_nothing(editor, portrait):
    face = portrait(0)
    same = editor(face, pose=face.pose)
    assert np.abs(same.astype(int) - face.picture).max() <= 2


def test_beyond_the_face_not_a_bit_changes(editor, portrait):
    face = portrait(1)
    edited = editor(face, {"AU12": 1.0, "AU26": 1.0}, (10, 25, 20))
    mask = fade(64).numpy()
    mask, reach = (
        cv2.warpAffine(m, cv2.invertAffineTransform(face.matrix), face.picture.shape[1::-1])
        for m in (mask, cv2.dilate(mask, np.ones((3, 3))))  # cubic interpolation reaches so far
    )
    assert np.array_equal(edited[reach == 0], face.picture[reach == 0])
    assert 0.2 < (reach == 0).mean() < 0.8
    assert (edited[mask > 0.9] != face.picture[mask > 0.9]).any(1).mean() > 0.9


@pytest.mark.parametrize("number", PEOPLE)
@pytest.mark.parametrize("unit", ["AU04", "AU12", "AU26"])
def test_an_edit_is_read_as_the_unit_that_was_asked_for(editor, portrait, person, number, unit):
    face = portrait(number)
    video = person(number)
    edited = editor(face, {unit: 1.0})
    after = editor.portrait(edited, video.points(video.neutral()) + 30)
    change = logits(after.aus) - logits(face.aus)
    assert editor.units[int(change.argmax())] == unit and change.max() > 0.5


@pytest.mark.parametrize(("unit", "least"), [("AU04", 0.8), ("AU12", 0.85), ("AU26", 0.8)])
def test_flows_are_like_the_exact_ones(editor, portrait, person, unit, least):
    """The cosine with the motion of the mesh, over the skin of the face."""
    found = []
    for number in PEOPLE:
        video, face = person(number), portrait(number, border=0)
        rest = video.neutral()
        acting = rest.intensities.copy()
        acting[ACTION_UNITS.index(unit)] = 1
        truth = video.flow(rest, rest._replace(intensities=acting))
        ours = editor.flow(face, {unit: 1.0}).permute(1, 2, 0).numpy()
        seen = (
            cv2.warpAffine(ours, face.matrix, truth.face.shape[::-1], flags=cv2.WARP_INVERSE_MAP)
            @ np.linalg.inv(face.matrix[:, :2]).T
        )
        a, b = seen[truth.face].ravel(), truth.flow[:, truth.face].T.ravel()
        found.append(a @ b / np.sqrt((a @ a) * (b @ b)))
    assert np.mean(found) > least


@pytest.mark.parametrize(("angle", "column"), [(1, 0), (0, 1)])
def test_heads_turn_the_way_that_was_asked_for(editor, portrait, person, angle, column):
    """Against the pose-only flow of the mesh, turned the same way."""
    for number in PEOPLE:
        video, face = person(number), portrait(number, border=0)
        rest = video.neutral()
        attitude = rest.attitude.copy()
        attitude[column] += 15
        truth = video.flow(rest, rest._replace(attitude=attitude, crop=rest.crop))
        pose = list(face.pose)
        pose[angle] += 15
        ours = editor.flow(face, pose=pose).numpy()
        axis = column  # yaw moves the face along x, pitch along y
        # The nose goes ahead of the rest of the face: what turning is, whatever the shift.
        nose, face_mean = _relative(ours[axis]), _relative_truth(truth, face, axis)
        assert np.sign(nose) == np.sign(face_mean)


def _relative(flow: np.ndarray) -> float:
    """How far the middle of an aligned face moves beyond its outer parts."""
    middle, outer = flow[22:34, 26:38].mean(), np.delete(flow[16:44], range(16, 48), 1).mean()
    return float(middle - outer)


def _relative_truth(truth, face, axis: int) -> float:
    layers = np.dstack([*truth.flow])
    seen = cv2.warpAffine(layers, face.matrix, (64, 64)) @ face.matrix[:, :2].T
    return _relative(seen[..., axis])


def test_a_head_is_rolled_clockwise(editor, portrait):
    face = portrait(2)
    pitch, yaw, roll = face.pose
    height, width = face.picture.shape[:2]
    edited = editor(face, pose=(pitch, yaw, roll + 20))
    x, y = np.linalg.inv(face.matrix[:, :2]) @ (31.5 - face.matrix[:, 2])
    turn = cv2.getRotationMatrix2D((float(x), float(y)), -20, 1.0)
    wanted = cv2.warpAffine(face.picture, turn, (width, height))
    reach = 16 / np.hypot(*face.matrix[0, :2])
    part = (slice(int(y - reach), int(y + reach)), slice(int(x - reach), int(x + reach)))
    error, before = (
        np.abs(picture[part].astype(float) - wanted[part]).mean()
        for picture in (edited, face.picture)
    )
    assert error < 0.25 * before


def test_a_face_takes_over_another_ones_action(editor, portrait, person):
    rest = person(0).neutral()
    smile = rest.intensities.copy()
    smile[[ACTION_UNITS.index(unit) for unit in ("AU06", "AU12")]] = 1
    smiling = portrait(0, rest._replace(intensities=smile))
    neutral = portrait(0)
    video = person(0)
    after = editor.portrait(editor(neutral, smiling), video.points(rest) + 30)
    assert after.aus["AU12"] > neutral.aus["AU12"] + 0.5 * (
        smiling.aus["AU12"] - neutral.aus["AU12"]
    )


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ({"aus": {"AU99": 1.0}}, "AU99: unknown unit; known are AU01"),
        ({"aus": {"AU12": 1.5}}, "AU12: an intensity is from 0 to 1, not 1.5"),
        ({"aus": {"AU12": float("nan")}}, "AU12: an intensity is from 0 to 1, not nan"),
        ({"pose": (1, 2)}, "pose: .* pitch, yaw and roll in degrees are needed"),
        ({"pose": (1, 2, float("inf"))}, "pose: .* are needed"),
        ({"pose": (0, 500, 0)}, "pose: pitch 0 and yaw 500 came, need -90 to 90 degrees"),
        ({"pose": (-91, 0, 0)}, "pose: pitch -91 and yaw 0 came, need -90 to 90 degrees"),
    ],
)
def test_wrong_wishes_are_refused(editor, portrait, words, error):
    with pytest.raises(ValueError, match=error):
        editor(portrait(0), **words)


def test_wrong_pictures_are_refused(editor, detector):
    with pytest.raises(ValueError, match=r"picture: float64 of shape \(4, 4\) came"):
        editor(np.zeros((4, 4)))
    with pytest.raises(ValueError, match="no face was found"):
        editor(np.zeros((80, 80, 3), np.uint8), {"AU12": 1.0})


def test_weak_units_are_named():
    kept = FaceEditor.load("synthetic-64")
    figures = json.loads((FOLDER / "synthetic-64" / AGREEMENT_FILE).read_text())
    said = kept.weaknesses(kept.units)
    for unit in kept.units:
        assert (unit in said) == (figures.get(unit, 0) < GOAL)
    assert kept.weaknesses(["AU12"]) == "" and kept.weaknesses([]) == ""


def test_weights_without_decoders_cannot_edit():
    with pytest.raises((ValueError, FileNotFoundError), match=r"decoders\.safetensors"):
        FaceEditor.load("detector-64")


def test_a_probe_of_another_encoder_is_refused(editor):
    encoder, probe = tcae.load_encoder("synthetic-64"), tcae.load_probe("detector-64")
    with pytest.raises(ValueError, match="trained on the encoder"):
        FaceEditor(encoder, probe, editor._pose, editor._motions)


def test_the_example_of_the_page_runs(portrait, detector):
    text = (Path(__file__).parents[2] / "docs/edit.md").read_text()
    (program,) = re.findall(r"<!-- example -->\n\n```python\n(.*?)```", text, re.DOTALL)
    names = {"picture": portrait(1).picture, "other": portrait(2).picture}
    exec(program, names)
    assert names["smiling"].shape == names["picture"].shape
