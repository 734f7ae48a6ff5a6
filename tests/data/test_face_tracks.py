from __future__ import annotations

import json

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


# Who comes back: rendered people, whose points are known ------------------------------------------


def shown(points):
    """The face with these points, and a box around them."""
    return Face(np.concatenate([points.min(0) - 20, points.max(0) + 20]), points, 1.0)


def watch(tracker, parts, start=0.0):
    """Numbers in the pictures of each part; a part is a film, or a number of empty pictures."""
    numbers, time = [], start
    for part in parts:
        found = []
        for rgb, points in [(ONE, None)] * part if isinstance(part, int) else part:
            found += tracker.update(rgb, time, [] if points is None else [shown(points)])
            time += 0.1
        numbers.append(found)
    return numbers


def test_a_person_who_comes_back_keeps_the_number(filmed):
    ann, bob = filmed(0, 20), filmed(2, 20)
    before, _, other, _, after, _, again = watch(
        Tracker(), [ann[:10], 20, bob[:10], 20, ann[10:15], 20, bob[10:15]]
    )
    assert before == [0] * 10 and other == [1] * 10
    assert after[0] == 0 and again[0] == 1


@pytest.mark.parametrize("gap", [0, 1, 20])
def test_nobody_gets_the_number_of_somebody_else(filmed, gap):
    """Also where the place of the one becomes that of the other from a picture to the next."""
    films = [filmed(person, 8) for person in range(6)]
    parts = [part for film in films for part in (film, gap)]
    people = [set(numbers) for numbers in watch(Tracker(), parts)[::2]]
    assert sum(map(len, people)) == len(set.union(*people))


def test_two_at_once_have_two_numbers(filmed):
    """Both come back to the other's place."""
    ann, bob = filmed(0, 6), filmed(2, 6)
    tracker = Tracker()

    def both(k, left, right):
        rgb = np.concatenate([left[k][0], right[k][0]], 1)
        return rgb, [shown(left[k][1]), shown(right[k][1] + [320, 0])]

    for k in range(5):
        rgb, faces = both(k, ann, bob)
        assert tracker.update(rgb, k / 10, faces) == [0, 1]
    for k in range(20):
        tracker.update(np.concatenate([ONE, ONE], 1), 1 + k / 10, [])
    rgb, faces = both(5, bob, ann)
    assert tracker.update(rgb, 4.0, faces) == [1, 0]


def test_what_it_knows_can_be_saved(filmed):
    ann, bob = filmed(0, 20), filmed(2, 20)
    parts = [ann[:10], 20, bob[:10], 20, ann[10:], 2, bob[10:]]
    whole = watch(Tracker(), parts)
    for cut in range(1, len(parts)):
        first, second = Tracker(), Tracker()
        time = 0.1 * sum(part if isinstance(part, int) else len(part) for part in parts[:cut])
        before = watch(first, parts[:cut])
        second.load_state_dict(json.loads(json.dumps(first.state_dict())))
        assert before + watch(second, parts[cut:], time) == whole


def test_what_it_keeps_does_not_grow(filmed, monkeypatch):
    monkeypatch.setattr("tcae.data.face_tracks._LOOKS", 4)
    monkeypatch.setattr("tcae.data.face_tracks._PEOPLE", 3)
    tracker = Tracker()
    watch(tracker, [film for person in range(6) for film in (filmed(person, 30), 20)])
    people = tracker.state_dict()["people"]
    assert [number for number, _ in people][-1] >= 5  # who was seen last is among them
    assert len(people) == 3 and max(len(looks) for _, looks in people) == 4


def test_who_is_replaced_leaves_no_track_behind(filmed):
    """The new person moves to the very place of the old one, in the same room."""
    ann, bob = filmed(0, 8)[0], filmed(2, 8)[0]

    def at(film, left):
        rgb = cv2.resize(ONE, (400, 300))
        rgb[60:220, left : left + 160] = film[0][40:200, 80:240]
        box = np.array([left + 30, 90, left + 130, 190], float)
        return rgb, Face(box, film[1] + [left - 80, 20], 1.0)

    tracker = Tracker()
    for k, (film, left, number) in enumerate([(ann, 100, 0), (bob, 130, 1), (bob, 100, 1)]):
        rgb, person = at(film, left)
        assert tracker.update(rgb, k / 10, [person]) == [number]
