from __future__ import annotations

import numpy as np
import pytest

from tcae.data.synthetic.flow import exact_flow
from tcae.data.synthetic.head import UNITS, Head
from tcae.data.synthetic.overlay import draw_over
from tcae.data.synthetic.raster import trace
from tcae.data.synthetic.scene import PIVOT, Camera, Light, Pose, look, view_of
from tcae.data.synthetic.shadows import reach
from tcae.data.synthetic.solids import SolidView, ball, grid, joined, solid, tube

HEAD = Head.load()
SIZE = 96
CAMERA = Camera(12.0, np.array([[33, 0, 47.5], [0, 33, 42]], np.float32))


def volume(vertices, triangles):
    """By the divergence theorem: positive if the triangles face outwards."""
    a, b, c = np.moveaxis(vertices[triangles].astype(float), 1, 0)
    return (a * np.cross(b, c)).sum() / 6


def test_solids_are_closed_to_the_outside():
    assert volume(*ball([3, 1, -2], [0.5, 0.4, 0.6], 24)) == pytest.approx(
        4 / 3 * np.pi * 0.5 * 0.4 * 0.6, rel=0.1
    )
    for way in ([0, 2, 0], [1.5, -1, 0.4], [0, -2, 0]):
        path = np.linspace([1, 1, 1], np.add(1, way), 9)
        expected = np.pi * 0.3**2 * np.linalg.norm(way) + 4 / 3 * np.pi * 0.3**3
        assert volume(*tube(path, np.full(9, 0.3), 24)) == pytest.approx(expected, rel=0.06)
        flat = np.repeat([[0.3, 0.1]], 9, 0)
        assert volume(*tube(path, flat, 24)) < 0.4 * expected


def test_mirrored_solids_too():
    points, triangles = ball([1, 0, 0], [0.5] * 3)
    other = solid(points, triangles, [200, 100, 50]).mirrored()
    assert volume(other.vertices, other.triangles) == pytest.approx(volume(points, triangles))
    assert other.vertices[:, 0].mean() == pytest.approx(-1, abs=1e-6)


def plate(z=1.0, stays=0.0, clear=0.0, colour=(50, 100, 200)):
    """A square before the middle of the face."""
    corners = np.array([[x, y, z] for y in (0.0, -1.0) for x in (-0.5, 0.5)])
    return solid(corners, grid(2, 2, closed=False), colour, clear=clear, stays=stays)


def viewed(made, pose):
    return SolidView(made, view_of(made.vertices, made.stays, pose, CAMERA))


def even(ambient=1.0):
    harmonics = np.zeros((9, 3), np.float32)
    harmonics[0] = ambient
    return Light(harmonics, np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32))


def drawn(made, pose, near=None):
    picture = np.full((SIZE, SIZE, 3), 120, np.uint8)
    near = np.zeros((2 * SIZE, 2 * SIZE), np.float32) if near is None else near
    draw_over(picture, near, viewed(made, pose), even(), np.ones((len(made.vertices), 0), "f4"))
    return picture


def turned(points, pose):
    """Points of a head in space: pitch turns the nose down, yaw to the right."""
    (cy, cp), (sy, sp) = np.cos([pose.yaw, pose.pitch]), np.sin([pose.yaw, pose.pitch])
    yaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    pitch = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    return (points - PIVOT) @ (pitch @ yaw).T + PIVOT


def projected(points):
    plane = points[:, :2] * [1, -1] * 12 / (12 - points[:, 2:])
    return plane * 33 + [47.5, 42]


@pytest.mark.parametrize("pose", [Pose(), Pose(yaw=0.4), Pose(pitch=-0.2), Pose(yaw=-0.3)])
def test_what_is_worn_is_drawn_where_the_turned_head_carries_it(pose):
    blue = (drawn(plate(), pose) == [50, 100, 200]).all(2)
    rows, columns = np.nonzero(blue)
    corners = projected(turned(plate().vertices.astype(float), pose))
    assert columns.mean() == pytest.approx(corners[:, 0].mean(), abs=1)
    assert rows.mean() == pytest.approx(corners[:, 1].mean(), abs=1)
    around = corners[[0, 1, 3, 2]]
    x, y = around.T
    area = abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2
    assert blue.sum() == pytest.approx(area, rel=0.12)  # but pixels that are partly covered


def test_what_is_held_does_not_turn():
    assert np.array_equal(drawn(plate(stays=1), Pose()), drawn(plate(stays=1), Pose(yaw=0.5)))


def test_clear_solids_let_light_through_and_hidden_ones_are_not_drawn():
    picture = drawn(plate(clear=(0.25, 1.0, 0.0), colour=(0, 0, 0)), Pose())
    assert picture[55, 47].tolist() == [60, 120, 0]  # gamma 2: a quarter of the light
    nothing = drawn(plate(), Pose(), np.full((2 * SIZE, 2 * SIZE), 1 / 10.9, np.float32))
    assert (nothing == 120).all()
    beside = np.zeros((2 * SIZE, 2 * SIZE), np.float32)
    beside[:, SIZE:] = 1 / 10.9  # something nearer in the right half
    half = (drawn(plate(), Pose(), beside) != 120).any(2)
    assert half[:, :48].any() and not half[:, 48:].any()


def flow_between(made, poses, faces=(HEAD.vertices, HEAD.vertices)):
    views = [look(HEAD, face, pose, CAMERA) for face, pose in zip(faces, poses, strict=True)]
    before = [viewed(made, pose) for pose in poses] if made else []
    return exact_flow(HEAD, *views, SIZE, SIZE, *before)


def test_the_flow_of_what_is_worn_is_the_rigid_one():
    pose = Pose(yaw=0.3, pitch=0.1)
    flow = flow_between(plate(), (Pose(), pose))
    inside = np.array([[0.0, -0.5, 1.0], [0.3, -0.3, 1.0], [-0.2, -0.8, 1.0]])
    seen, there = projected(turned(inside, pose)), projected(inside)
    for (x, y), expected in zip(np.round(seen).astype(int), there - seen, strict=True):
        assert flow.flow[:, y, x] == pytest.approx(expected, abs=0.6)
        assert flow.head[y, x] and flow.visible[y, x] and not flow.face[y, x]
        assert flow.depth[y, x] < 11.3  # before the face


def test_actions_under_a_plate_do_not_move_it():
    intensities = np.zeros((len(UNITS), 2))
    intensities[UNITS.index(26)] = intensities[UNITS.index(9)] = 1
    faces = HEAD.vertices, HEAD.expression(HEAD.vertices, intensities)
    where = np.s_[:, 46:70, 36:60]
    assert np.abs(flow_between(plate(), (Pose(), Pose()), faces).flow[where]).max() < 1e-3
    assert np.abs(flow_between(None, (Pose(), Pose()), faces).flow[where]).max() > 1


def test_flows_go_through_clear_solids():
    poses = Pose(), Pose(yaw=0.2)
    clear, none = (flow_between(made, poses) for made in (plate(clear=0.9), None))
    assert np.array_equal(clear.flow, none.flow) and np.array_equal(clear.face, none.face)


def test_what_is_held_counts_as_beside_the_head():
    pose = Pose(yaw=0.3)
    flow, bare = (flow_between(made, (Pose(), pose)) for made in (plate(stays=1), None))
    hidden = bare.head & ~flow.head
    assert hidden[50:70, 36:60].all() and np.isinf(flow.depth[hidden]).all()
    assert (flow.flow[:, hidden] == 0).all() and not flow.visible[hidden].any()
    # What it hides in the source is not visible there, wherever the target shows it.
    moved = np.round(np.mgrid[:SIZE, :SIZE] + bare.flow[::-1]).astype(int).clip(0, SIZE - 1)
    under = (drawn(plate(stays=1), Pose()) != 120).any(2)[moved[0], moved[1]]
    shown = flow.head & bare.visible & under
    assert shown.sum() > 50 and flow.visible[shown].mean() < 0.15


def lamp(direction, shadow=1.0, window=()):
    one = np.array([direction], np.float32) / np.linalg.norm(direction)
    waves = np.array(window, np.float32).reshape(-1, 3)
    return Light(np.zeros((9, 3), np.float32), one, np.ones((1, 3), np.float32), shadow, waves)


def wall_behind_a_ball():
    x, y = np.meshgrid(np.linspace(-2, 2, 33), np.linspace(2, -2, 33))
    wall = np.stack([x, y, np.full_like(x, -1)], -1).reshape(-1, 3)
    points, triangles = ball([0, 0, 0.5], [0.4] * 3, 24)
    faces = np.concatenate([grid(33, 33, closed=False), triangles + len(wall)])
    return np.concatenate([wall, points]).astype("f4"), faces, len(wall)


@pytest.mark.parametrize("direction", [(0, 0, 1), (0.5, 0.3, 1), (-0.4, 0.6, 0.8)])
def test_shadows_lie_behind_what_casts_them(direction):
    space, faces, wall = wall_behind_a_ball()
    free = reach(space, faces, np.zeros(len(faces), bool), lamp(direction))[:wall, 0]
    way = np.array(direction) / np.linalg.norm(direction)
    from_centre = space[:wall] - np.array([0, 0, 0.5])
    away = np.linalg.norm(from_centre - (from_centre @ way)[:, None] * way, axis=1)
    assert (free[away < 0.25] < 0.05).all()
    assert (free[away > 0.6] > 0.9).all()
    half = reach(space, faces, np.zeros(len(faces), bool), lamp(direction, 0.5))[:wall, 0]
    np.testing.assert_allclose(half, 0.5 + 0.5 * free, atol=1e-6)


def test_without_shadows_all_light_arrives():
    space, faces, _ = wall_behind_a_ball()
    assert (reach(space, faces, np.zeros(len(faces), bool), lamp((0, 0, 1), 0.0)) == 1).all()


def test_bars_before_a_window_are_stripes():
    space, faces, wall = wall_behind_a_ball()
    light = lamp((0, 0, 1), 1.0, [[0, 8, 0]])
    free = reach(space, faces, np.zeros(len(faces), bool), light)[:wall, 0].reshape(33, 33)
    assert np.ptp(free[:, 1], axis=0) > 0.9  # from row to row
    assert np.ptp(free[10, :]) < 1e-6  # not along a row


def test_pieces_keep_their_properties():
    both = joined([plate(colour=(255, 0, 0)), plate(z=2, stays=1, clear=0.5, colour=(0, 255, 0))])
    assert both.triangles.max() == 7 and len(both.casting) == 2
    assert both.paint[[0, 7]].tolist() == [[1, 0, 0], [0, 1, 0]]
    assert both.stays.tolist() == [0] * 4 + [1] * 4
    seen, _ = trace(
        *(lambda v: (v.pixels, v.depth))(viewed(both, Pose()).view),
        both.triangles, np.zeros(4, bool), SIZE, SIZE, 1,
    )  # fmt: skip
    assert seen[55, 47] in (2, 3)  # the nearer one
