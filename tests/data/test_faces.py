from __future__ import annotations

import importlib.metadata

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcae.data.faces import Face, Tracker, make_detector
from tcae.data.mtcnn import _suppress


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


def test_unknown_detector():
    with pytest.raises(ValueError, match="detector must be one of mtcnn, not 'yolo'"):
        make_detector("yolo")


def test_missing_extra_says_what_to_install(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    with pytest.raises(ValueError, match=r"pip install 'tcae\[faces\]'"):
        make_detector()


@given(st.integers(0, 2**32 - 1), st.integers(0, 40), st.booleans())
def test_suppression(seed, count, nested):
    random = np.random.default_rng(seed)
    corner = random.integers(0, 30, (count, 2))
    boxes = np.concatenate([corner, corner + random.integers(1, 30, (count, 2))], 1)
    scores = random.permutation(count).astype(float)
    kept = _suppress(boxes.astype(np.float32), scores, 0.5, nested).tolist()

    def overlap(a, b):  # counted pixel by pixel
        grid = np.zeros((2, 60, 60), bool)
        for k, (x0, y0, x1, y1) in enumerate((boxes[a], boxes[b])):
            grid[k, y0:y1, x0:x1] = True
        whole = grid.sum((1, 2)).min() if nested else grid.any(0).sum()
        return grid.all(0).sum() / whole

    assert kept == sorted(kept, key=lambda i: -scores[i])
    for i in range(count):
        better = [k for k in kept if scores[k] > scores[i]]
        assert (i in kept) == all(overlap(i, k) <= 0.5 for k in better)


def test_pictures_without_a_face_or_too_small_for_one(detector):
    find = make_detector()
    for shape in [(1, 1), (11, 200), (19, 19), (64, 64), (48, 500)]:
        assert find(np.full((*shape, 3), 90, np.uint8)) == []
