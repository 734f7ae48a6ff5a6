from __future__ import annotations

import numpy as np
import pytest

from tcae.data.synthetic.head import HEAD_FILE, PARTS, UNITS, Head
from tcae.data.synthetic.raster import trace
from tcae.data.synthetic.scene import Camera, Pose, look

HEAD = Head.load()


def people(count, seed=0):
    random = np.random.default_rng(seed)
    return [HEAD.identity(random).vertices for _ in range(count)]


def act(shape, amounts, **options):
    """Landmarks' displacements; `amounts` maps AU -> intensity of both sides or (left, right)."""
    intensities = np.zeros((len(UNITS), 2))
    for number, amount in amounts.items():
        intensities[UNITS.index(number)] = amount
    moved = HEAD.expression(shape, intensities, **options) - shape
    return {name: moved[vertex] for name, vertex in HEAD.landmarks.items()}


def part(name):
    return np.unique(HEAD.triangles[HEAD.parts == PARTS.index(name)])


def seen(shape, name, size=256):
    """Pixels of a part in a picture of the face from the front."""
    camera = Camera(crop=np.array([[88, 0, 127.5], [0, 88, 104]], np.float32))
    view = look(HEAD, shape, Pose(), camera)
    triangles = (HEAD.triangles, HEAD.two_sided)
    nearest, _ = trace(view.pixels, view.depth, *triangles, size, size, 1)
    return int((HEAD.parts[nearest[nearest >= 0]] == PARTS.index(name)).sum())


def test_the_file_is_small_and_its_licence_beside_it():
    assert HEAD_FILE.stat().st_size < 1_000_000
    text = HEAD_FILE.with_name("LICENSE-head.md").read_text()
    assert "CC0" in text
    assert "MakeHuman" in text


def test_same_seed_same_person():
    (a,), (b,), (c,) = people(1, 1), people(1, 1), people(1, 2)
    assert np.array_equal(a, b)
    assert np.abs(a - c).max() > 0.05


def test_people_differ_but_not_in_place_and_size():
    shapes = np.array(people(30))
    pupils = [HEAD.landmarks[f"{side}_pupil"] for side in ("left", "right")]
    middle = shapes[:, pupils].mean(1)
    assert np.ptp(middle, axis=0).max() < 1e-3
    face = HEAD.masks["face"] > 0.5
    size = np.linalg.norm(shapes[:, face] - middle[:, None], axis=2).mean(1)
    assert np.ptp(size) < 0.03 * size.mean()
    spread = shapes.std(0)
    assert spread[HEAD.landmarks["nose_tip"]].max() > 0.04
    assert spread[HEAD.landmarks["chin"]].max() > 0.04
    assert spread[HEAD.landmarks["left_mouth"]].max() > 0.04


def test_traits_follow_the_vertices():
    """Men have longer jaws than women on average."""
    random = np.random.default_rng(0)
    drawn = [HEAD.identity(random) for _ in range(60)]
    assert all(abs(person.race.sum() - 1) < 1e-6 for person in drawn)
    chin = np.array([-person.vertices[HEAD.landmarks["chin"], 1] for person in drawn])
    man = np.array([person.male for person in drawn]) > 0.5
    assert 0.2 < man.mean() < 0.8
    assert chin[man].mean() > chin[~man].mean() + 0.02


# AU -> (landmark, axis, sign, least displacement): what the coding manual describes.
MOVES = {
    1: [("left_brow_0", 1, 1, 0.08)],
    2: [("left_brow_3", 1, 1, 0.1), ("left_brow_0", 1, 1, 0.02)],
    4: [("left_brow_0", 1, -1, 0.08), ("left_brow_0", 0, -1, 0.05)],
    5: [("left_upper_lid", 1, 1, 0.03)],
    6: [("left_lower_lid", 1, 1, 0.005)],
    7: [("left_lower_lid", 1, 1, 0.01)],
    9: [("left_brow_0", 1, -1, 0.02)],
    10: [("upper_lip", 1, 1, 0.03)],
    12: [("left_mouth", 1, 1, 0.05), ("left_mouth", 0, 1, 0.05)],
    14: [("left_mouth", 0, 1, 0.02)],
    15: [("left_mouth", 1, -1, 0.04)],
    16: [("lower_lip", 1, -1, 0.02)],
    17: [("lower_lip", 1, 1, 0.02)],
    18: [("left_mouth", 0, -1, 0.05)],
    20: [("left_mouth", 0, 1, 0.05)],
    22: [("left_mouth", 0, -1, 0.03), ("upper_lip", 2, 1, 0.01)],
    23: [("left_mouth", 0, -1, 0.005)],
    25: [("upper_lip", 1, 1, 0.02), ("lower_lip", 1, -1, 0.02)],
    26: [("chin", 1, -1, 0.15), ("lower_lip", 1, -1, 0.1)],
    45: [("left_upper_lid", 1, -1, 0.05)],
}


@pytest.mark.parametrize("number", MOVES)
def test_units_move_what_they_should(number):
    for shape in people(3):
        moved = act(shape, {number: 1})
        for landmark, axis, sign, least in MOVES[number]:
            assert sign * moved[landmark][axis] > least, landmark


def test_a_smile_with_parted_lips_bares_the_teeth():
    for shape in people(4):
        assert seen(act_shape({}, shape), "teeth") == 0
        smiling = seen(act_shape({6: 1, 12: 1, 25: 1}, shape), "teeth")
        assert smiling > 150
        assert seen(act_shape({12: 0.5}, shape), "teeth") < 0.5 * smiling


def test_lip_pressor_thins_the_red():
    red = [seen_of_mask(act_shape({24: amount})) for amount in (0, 1)]
    assert red[1] < 0.9 * red[0]


def act_shape(amounts, shape=HEAD.vertices):
    intensities = np.zeros((len(UNITS), 2))
    for number, amount in amounts.items():
        intensities[UNITS.index(number)] = amount
    return HEAD.expression(shape, intensities)


def seen_of_mask(shape):
    """Pixels of the lips from the front."""
    camera = Camera(crop=np.array([[88, 0, 127.5], [0, 88, 64]], np.float32))
    view = look(HEAD, shape, Pose(), camera)
    nearest, _ = trace(view.pixels, view.depth, HEAD.triangles, HEAD.two_sided, 256, 256, 1)
    lips = HEAD.masks["lips"][HEAD.triangles].mean(1) > 0.7
    return int(lips[nearest[nearest >= 0]].sum())


@pytest.mark.parametrize("number", [2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 20, 24, 45])
def test_sides_are_apart_and_mirror_each_other(number):
    """The right side's share is the left one's in the mirror, and moves little of the left side."""
    left = act(HEAD.vertices, {number: (1, 0)})
    right = act(HEAD.vertices, {number: (0, 1)})
    both = act(HEAD.vertices, {number: 1})
    own = 0.0
    for name, moved in left.items():
        if name.startswith("left_"):
            other = right[name.replace("left", "right")] * [-1, 1, 1]
            np.testing.assert_allclose(moved, other, atol=0.012)
            np.testing.assert_allclose(moved + right[name], both[name], atol=0.03)
            own = max(own, float(np.linalg.norm(moved)))
            across = float(np.linalg.norm(right[name]))
            assert across < 0.35 * max(own, 0.05)
    assert own > 0.02


def test_the_mean_head_is_symmetric():
    for name, vertex in HEAD.landmarks.items():
        if name.startswith("left_"):
            other = HEAD.vertices[HEAD.landmarks[name.replace("left", "right")]]
            np.testing.assert_allclose(HEAD.vertices[vertex], other * [-1, 1, 1], atol=2e-3)


@pytest.mark.parametrize("others", [{}, {5: 1}, {6: 1, 12: 1}, {7: 0.7, 4: 1}])
def test_closed_lids_cover_the_eyeball(others):
    for shape in people(6):
        intensities = np.zeros((len(UNITS), 2))
        for number, amount in others.items():
            intensities[UNITS.index(number)] = amount
        neutral = seen(shape, "eye")
        intensities[UNITS.index(45)] = 1
        assert neutral > 200
        assert seen(HEAD.expression(shape, intensities), "eye") < 0.02 * neutral


def test_blinking_half_is_between():
    (shape,) = people(1)
    counts = []
    for amount in (0, 0.5, 1):
        intensities = np.zeros((len(UNITS), 2))
        intensities[UNITS.index(45)] = amount
        counts.append(seen(HEAD.expression(shape, intensities), "eye"))
    assert counts[0] > 1.3 * counts[1] > 5 * counts[2]


def test_gaze_turns_the_balls_in_place():
    (shape,) = people(1)
    nothing = np.zeros((len(UNITS), 2))
    ball = part("eye")
    for gaze, axis, sign in (((0.3, 0), 0, 1), ((0, 0.3), 1, -1)):
        moved = HEAD.expression(shape, nothing, gaze)
        for side in ("left", "right"):
            pupil = HEAD.landmarks[f"{side}_pupil"]
            assert sign * (moved - shape)[pupil, axis] > 0.04
        # Each ball keeps its distances: it turned and did not bend.
        for half in np.split(ball, 2):
            before, after = (np.linalg.norm(v[half] - v[half[:1]], axis=1) for v in (shape, moved))
            np.testing.assert_allclose(before, after, atol=1e-5)


def test_a_neutral_mouth_shows_no_teeth_and_an_open_one_does():
    for shape in people(6):
        assert seen(shape, "teeth") < 15
    assert seen(act_shape({26: 1, 25: 1}), "teeth") > 60
    assert seen(act_shape({26: 1}), "mouth") + seen(act_shape({26: 1}), "tongue") > 300


def test_the_jaw_takes_lower_teeth_and_tongue_along():
    moved = act_shape({26: 1}) - HEAD.vertices
    teeth = part("teeth")
    upper = HEAD.vertices[teeth, 1] > -1.0
    assert moved[teeth, 1].mean() < -0.05
    assert np.abs(moved[teeth[upper]]).max() < 1e-3
    assert moved[part("tongue"), 1].mean() < -0.05


def test_nothing_happens_without_intensity():
    (shape,) = people(1)
    still = HEAD.expression(shape, np.zeros((len(UNITS), 2)))
    np.testing.assert_allclose(still, shape, atol=1e-5)


def test_wrong_intensities_are_named():
    with pytest.raises(ValueError, match=r"intensities: shape \(21, 2\)"):
        HEAD.expression(HEAD.vertices, np.zeros(5))
