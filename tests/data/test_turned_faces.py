from __future__ import annotations

import json

import numpy as np
import pytest

from tcae.data.detectors import make_detector
from tcae.data.faces import Face
from tcae.data.turned_faces import UprightDetector

# A picture of one person on grey; the mark beside the eyes tells what is up.
POINTS = np.array([[40, 30], [60, 30], [50, 40], [42, 50], [58, 50]], float)
BOX = np.array([30, 20, 70, 62], float)
HEIGHT, WIDTH = 90, 120


def picture(turn=0):
    rgb = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    rgb[20:62, 30:70] = 200
    rgb[22:28, 34:66] = (255, 0, 0)
    return np.ascontiguousarray(np.rot90(rgb, turn))


class MarkDetector:
    """Finds the bright square with the red mark on top; elsewhere it is less sure, or finds none.

    Like detectors of real faces it gives upright points however the face is turned.

    Attributes:
        turned: Its confidence in a face whose mark is not on top, None if it finds none.
        asked: Number of whole pictures it was asked for.
    """

    def __init__(self, turned: float | None = None) -> None:
        self.turned, self.asked = turned, 0

    def __call__(self, rgb):
        self.asked += rgb.shape[0] * rgb.shape[1] == HEIGHT * WIDTH
        y, x = np.nonzero(rgb[..., 0] > 150)
        if not len(y):
            return []
        low, high = np.array([x.min(), y.min()], float), np.array([x.max(), y.max()], float) + 1
        red = (rgb[..., 0] > 150) & (rgb[..., 1] < 100)
        ys, xs = np.nonzero(red)
        upright = np.ptp(xs) > np.ptp(ys) and ys.mean() < (low[1] + high[1]) / 2
        confidence = 0.999 if upright else self.turned
        if confidence is None:
            return []
        scale = (high - low) / (BOX[2:] - BOX[:2])
        points = (POINTS - BOX[:2]) * scale + low
        return [Face(np.concatenate([low, high]), points, confidence)]


def turned(places, turn, size=(WIDTH, HEIGHT)):
    """Where places of the upright picture are after quarter turns against the clock."""
    width, height = size
    for _ in range(turn):
        places = np.stack([places[:, 1], width - 1 - places[:, 0]], 1)
        width, height = height, width
    return places


@pytest.mark.parametrize("confidence", [None, 0.95])
@pytest.mark.parametrize("turn", range(4))
def test_box_and_points_are_in_the_picture_as_it_came(turn, confidence):
    (face,) = UprightDetector(MarkDetector(confidence))(picture(turn))
    assert np.abs(face.points - turned(POINTS, turn)).max() < 1e-6
    y, x = np.nonzero(picture(turn)[..., 0] > 150)
    assert face.box.tolist() == [x.min(), y.min(), x.max() + 1, y.max() + 1]
    assert face.confidence == 0.999


def test_a_video_stays_turned_and_is_looked_at_once():
    detector = MarkDetector(0.95)
    detect = UprightDetector(detector)
    for k in range(60):
        before = detector.asked
        (face,) = detect(picture(2))
        assert face.points[0, 1] > face.points[3, 1]  # eyes below the mouth
        assert detector.asked - before == (2 if k == 0 else 1)


def test_a_turn_in_the_middle_of_a_video():
    detect = UprightDetector(MarkDetector(0.95))
    for _ in range(30):
        detect(picture())
    faces = [detect(picture(1)) for _ in range(40)][30:]
    assert all(np.allclose(face.points, turned(POINTS, 1)) for (face,) in faces)


def test_one_look_alone_turns_no_video():
    """For once it is a little surer of the face on its head."""
    detector = MarkDetector(0.95)
    detect = UprightDetector(detector)
    for k in range(40):
        detector.turned = 0.9992 if k == 2 else 0.95
        (face,) = detect(picture())
        assert np.allclose(face.points, POINTS)


def test_one_look_at_a_still_decides_for_upright_if_in_doubt():
    (face,) = UprightDetector(MarkDetector(0.9985))(picture(2))
    assert not np.allclose(face.points, turned(POINTS, 2))
    (face,) = UprightDetector(MarkDetector(0.99))(picture(2))
    assert np.allclose(face.points, turned(POINTS, 2))


def test_where_nothing_is_found_other_turns_are_tried_now_and_then():
    detector = MarkDetector()
    detect = UprightDetector(detector)
    empty = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    assert all(detect(empty) == [] for _ in range(1000))
    assert 1100 < detector.asked < 1250
    assert any(detect(picture(2)) for _ in range(16))


def test_faces_on_their_side_are_left_out():
    side = turned(POINTS, 1)

    def detect(rgb):
        if rgb.shape[:2] != (HEIGHT, WIDTH):
            return []
        return [Face(BOX, POINTS, 0.99), Face(BOX, side, 0.98)]

    (face,) = UprightDetector(detect)(picture())
    assert np.array_equal(face.points, POINTS)


def test_what_it_learnt_can_be_saved():
    first, second = (UprightDetector(MarkDetector(0.95)) for _ in range(2))
    for k in range(13):
        first(picture(2 if k > 5 else 0))
    first(np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert second.state_dict() == first.state_dict()
    for turn in (2, 2, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1):
        (one,), (other,) = first(picture(turn)), second(picture(turn))
        assert np.array_equal(one.points, other.points)


@pytest.mark.parametrize("turn", range(4))
def test_rendered_people(detector, filmed, turn):
    """Every face that is found is found where it is, whichever side is up."""
    found = 0
    for person in range(3):
        detect = UprightDetector(make_detector())
        for rgb, points in filmed(person, 20)[::2]:
            for face in detect(np.ascontiguousarray(np.rot90(rgb, turn))):
                error = np.abs(face.points - turned(points, turn, (320, 240))).mean()
                assert error < 10, (person, error)
                found += 1
    assert found >= 22  # of 30; all of them where faces are upright, or real
