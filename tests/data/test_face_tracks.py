from __future__ import annotations

import cv2
import numpy as np
import pytest

from tcae.data.face_tracks import Tracker
from tcae.data.faces import Face


def face(x, y, side):
    return Face(np.array([x, y, x + side, y + side], float), np.zeros((5, 2)), 1.0)


def scene(seed):
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(coarse, (160, 120))


ONE, OTHER = scene(0), scene(1)


def test_two_people_keep_their_numbers_as_they_cross():
    tracker = Tracker()
    for k in range(20):
        faces = [face(10 + 4 * k, 20, 30), face(100 - 4 * k, 70, 34)]
        order = [0, 1] if k % 2 else [1, 0]
        numbers = tracker.update(ONE, k / 25, [faces[i] for i in order])
        if k == 0:
            first = {i: n for i, n in zip(order, numbers, strict=True)}
        assert [first[i] for i in order] == numbers


def test_at_one_picture_a_second_a_head_may_move_by_its_size():
    tracker = Tracker()
    assert tracker.update(ONE, 0.0, [face(20, 20, 40)]) == [0]
    assert tracker.update(ONE, 1.0, [face(50, 30, 44)]) == [0]
    assert tracker.update(ONE, 2.0, [face(115, 30, 40)]) == [1]  # too far to be the same


def test_size_must_agree():
    tracker = Tracker()
    tracker.update(ONE, 0.0, [face(20, 20, 20)])
    assert tracker.update(ONE, 0.04, [face(10, 10, 60)]) == [1]


def test_a_cut_starts_new_tracks_even_at_the_same_place():
    tracker = Tracker()
    for k in range(5):
        assert tracker.update(ONE, k / 25, [face(50, 40, 40)]) == [0]
    for k in range(5, 10):
        assert tracker.update(OTHER, k / 25, [face(50, 40, 40)]) == [1]


def test_a_darker_picture_is_no_cut():
    tracker = Tracker()
    tracker.update(ONE, 0.0, [face(50, 40, 40)])
    assert tracker.update(ONE // 3, 0.04, [face(52, 40, 40)]) == [0]


@pytest.mark.parametrize(("fps", "away", "same"), [(25, 10, True), (25, 14, False),
                                                   (1, 2, True), (1, 3, False)])  # fmt: skip
def test_short_gaps_are_bridged(fps, away, same):
    tracker = Tracker()
    assert tracker.update(ONE, 0, [face(50, 40, 40)]) == [0]
    for k in range(1, away + 1):
        assert tracker.update(ONE, k / fps, []) == []
    assert tracker.update(ONE, (away + 1) / fps, [face(50, 40, 40)]) == [0 if same else 1]


def test_without_time_gaps_count_pictures():
    tracker = Tracker()
    assert tracker.update(ONE, float("nan"), [face(50, 40, 40)]) == [0]
    for _ in range(4):
        tracker.update(ONE, float("nan"), [])
    assert tracker.update(ONE, float("nan"), [face(50, 40, 40)]) == [1]


def test_pictures_of_any_shape():
    tracker = Tracker()
    for shape in [(1, 1), (2, 300), (300, 2), (7, 5)]:
        assert tracker.update(np.zeros((*shape, 3), np.uint8), 0.0, []) == []
