from __future__ import annotations

import numpy as np
import pytest
import torch

import tcae_ops
from tcae.data.synthetic.flow import exact_flow
from tcae.data.synthetic.head import UNITS, Head
from tcae.data.synthetic.raster import trace
from tcae.data.synthetic.render import render
from tcae.data.synthetic.scene import PIVOT, Camera, Light, Pose, Surface, look

HEAD = Head.load()
SIZE = 128
CAMERA = Camera(12.0, np.array([[44, 0, 63.5], [0, 44, 56]], np.float32))


def person(seed=0):
    return HEAD.identity(np.random.default_rng(seed)).vertices


def smile(shape, jaw=0.5):
    intensities = np.zeros((len(UNITS), 2))
    for number, amount in ((12, 0.9), (26, jaw), (1, 0.7)):
        intensities[UNITS.index(number)] = amount
    return HEAD.expression(shape, intensities)


def surface(seed=0):
    """Spots all over, so that displaced skin looks different."""
    noise = np.random.default_rng(seed).integers(40, 230, (64, 64, 3))
    texture = np.repeat(np.repeat(noise, 8, 0), 8, 1).astype(np.float32)
    kernel = np.ones(9) / 9
    for axis in (0, 1):
        texture = np.apply_along_axis(np.convolve, axis, texture, kernel, "same")
    gloss = np.zeros((512, 512, 1))
    return Surface(
        np.concatenate([texture, gloss], 2).astype(np.uint8), np.zeros((8, 8, 1), np.int8)
    )


def even_light():
    ambient = np.zeros((9, 3), np.float32)
    ambient[0] = 0.9
    return Light(ambient, np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32))


def turned(vertices, pose):
    """Points of the head proper (not the neck) in space, written out with a rotation vector."""

    def about(axis, angle):
        k = np.zeros((3, 3))
        k[(axis + 1) % 3, (axis + 2) % 3], k[(axis + 2) % 3, (axis + 1) % 3] = -1, 1
        return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k

    # Pitch turns the nose down and roll turns clockwise as seen: the latter against the z axis.
    rotation = about(2, -pose.roll) @ about(0, pose.pitch) @ about(1, pose.yaw)
    points = (vertices.astype(float) - PIVOT) @ rotation.T + PIVOT
    return points * pose.scale + [pose.x, -pose.y, 0]


def truth(vertices, pose, camera):
    """Their pixels."""
    points = turned(vertices, pose)
    plane = points[:, :2] * [1, -1] * camera.distance / (camera.distance - points[:, 2:])
    return plane @ camera.crop[:, :2].T.astype(float) + camera.crop[:, 2]


def at(picture, points):
    """Bilinear samples (n, C) of a (C, H, W) picture at pixels (n, 2)."""
    column, row = np.floor(points).astype(int).T
    fx, fy = (points - np.floor(points)).T
    top = picture[:, row, column] * (1 - fx) + picture[:, row, column + 1] * fx
    low = picture[:, row + 1, column] * (1 - fx) + picture[:, row + 1, column + 1] * fx
    return (top * (1 - fy) + low * fy).T


POSES = [
    Pose(),
    Pose(yaw=0.3),
    Pose(pitch=-0.2),
    Pose(roll=0.25),
    Pose(0.2, 0.15, -0.1, 0.2, -0.1, 1.1),
]


@pytest.mark.parametrize("pose", POSES)
def test_a_view_is_the_written_out_projection(pose):
    shape = person()
    rigid = HEAD.masks["trunk"] == 0
    found = look(HEAD, shape, pose, CAMERA).pixels[rigid]
    np.testing.assert_allclose(found, truth(shape[rigid], pose, CAMERA), atol=1e-3)


@pytest.mark.parametrize("pose", POSES[1:])
def test_flow_of_a_turn_is_the_projected_turn(pose):
    shape = person()
    source, target = look(HEAD, shape, Pose(), CAMERA), look(HEAD, shape, pose, CAMERA)
    flow = exact_flow(HEAD, source, target, SIZE, SIZE)
    # Front vertices that the target shows, away from the outline, where the flow jumps.
    front = (HEAD.masks["face"] > 0.9) & (HEAD.masks["trunk"] == 0)
    points = np.flatnonzero(front)
    seen, moved = truth(shape[points], pose, CAMERA), truth(shape[points], Pose(), CAMERA)
    inside = ((seen > 2) & (seen < SIZE - 3)).all(1)
    _, inverse = trace(target.pixels, target.depth, HEAD.triangles, HEAD.two_sided, SIZE, SIZE, 1)
    column, row = np.floor(seen[inside]).astype(int).T
    around = [1 / np.maximum(inverse[row + i, column + j], 1e-6) for i in (0, 1) for j in (0, 1)]
    facing = np.abs(around - target.depth[points[inside]]).max(0) < 0.05
    expected = (moved - seen)[inside][facing]
    found = at(flow.flow, seen[inside][facing])
    error = np.linalg.norm(found - expected, axis=1)
    assert len(error) > 300
    assert np.median(error) < 0.05
    assert np.percentile(error, 95) < 0.4
    assert np.median(np.linalg.norm(expected, axis=1)) > 4


@pytest.mark.parametrize("pose", POSES)
def test_depth_is_how_far_away_the_shown_points_are(pose):
    shape = person()
    points = shape[(HEAD.masks["face"] > 0.9) & (HEAD.masks["trunk"] == 0)]
    pixels, depth = truth(points, pose, CAMERA), CAMERA.distance - turned(points, pose)[:, 2]
    views = look(HEAD, smile(shape), Pose(), CAMERA), look(HEAD, shape, pose, CAMERA)
    flow = exact_flow(HEAD, *views, SIZE, SIZE)
    inside = ((pixels > 2) & (pixels < SIZE - 3)).all(1)
    beyond = at(flow.depth[None], pixels[inside])[:, 0] - depth[inside]
    assert len(beyond) > 300
    # Of some something nearer is shown, of none what lies behind, but at the outline.
    assert np.median(np.abs(beyond)) < 0.01
    assert np.percentile(beyond, 95) < 0.05
    assert np.isinf(flow.depth[~flow.head]).all() and np.isfinite(flow.depth[flow.head]).all()


def test_no_motion_no_flow():
    view = look(HEAD, smile(person()), Pose(yaw=0.2), CAMERA)
    flow = exact_flow(HEAD, view, view, SIZE, SIZE)
    assert np.abs(flow.flow).max() < 1e-3
    assert flow.visible[flow.head].mean() > 0.999
    assert 0.4 < flow.head.mean() < 0.95
    assert not flow.visible[~flow.head].any()


def test_a_shifted_crop_shifts_the_flow():
    shape = person()
    moved = Camera(12.0, CAMERA.crop + np.array([[0, 0, 3], [0, 0, -2]], np.float32))
    views = look(HEAD, shape, Pose(), CAMERA), look(HEAD, shape, Pose(), moved)
    flow = exact_flow(HEAD, *views, SIZE, SIZE)
    np.testing.assert_allclose(flow.flow[:, flow.head].T, [[-3, 2]] * flow.head.sum(), atol=1e-3)
    assert (flow.flow[:, ~flow.head] == 0).all()
    # What comes from outside the source's picture is not visible in it.
    assert not flow.visible[:, :3].any()


def warped_loss(source, target):
    """L1 of the unmoved and of the warped source to the target where both show the head."""
    paint, light = surface(), even_light()
    background = np.full((SIZE, SIZE, 3), 128, np.uint8)
    pictures = [render(HEAD, view, paint, light, background) for view in (source, target)]
    flow = exact_flow(HEAD, source, target, SIZE, SIZE)
    image, wanted = (torch.from_numpy(p).permute(2, 0, 1)[None] / 255 for p in pictures)
    warped = tcae_ops.warp(image, torch.from_numpy(flow.flow)[None], units="pixels")
    visible = torch.from_numpy(flow.visible)
    unmoved, moved = ((p - wanted)[0].abs().mean(0) for p in (image, warped))
    hidden = torch.from_numpy(flow.head & ~flow.visible)
    return unmoved[visible].mean(), moved[visible].mean(), moved[hidden].mean()


@pytest.mark.parametrize("what", ["units", "pose", "both"])
def test_warping_by_the_true_flow_makes_the_target(what):
    shape = person(1)
    source = look(HEAD, shape, Pose(), CAMERA)
    face = shape if what == "pose" else smile(shape, jaw=0.2)
    pose = Pose() if what == "units" else Pose(yaw=0.3, pitch=0.1)
    unmoved, moved, hidden = warped_loss(source, look(HEAD, face, pose, CAMERA))
    assert moved < 0.3 * unmoved
    if what != "units":
        assert hidden > 2 * moved


def test_units_alone_move_nothing_that_does_not_act():
    """AU 12 alone: the forehead stands still, the mouth's corners move."""
    shape = person()
    intensities = np.zeros((len(UNITS), 2))
    intensities[UNITS.index(12)] = 1
    views = [look(HEAD, s, Pose(), CAMERA) for s in (shape, HEAD.expression(shape, intensities))]
    flow = exact_flow(HEAD, *views, SIZE, SIZE)
    brow, mouth = (views[1].pixels[HEAD.landmarks[name]] for name in ("left_brow_1", "left_mouth"))
    assert np.abs(at(flow.flow, brow[None])).max() < 0.3
    assert np.linalg.norm(at(flow.flow, mouth[None])) > 3


def test_a_turned_away_cheek_is_hidden():
    shape = person()
    source, target = look(HEAD, shape, Pose(yaw=0.9), CAMERA), look(HEAD, shape, Pose(), CAMERA)
    flow = exact_flow(HEAD, source, target, SIZE, SIZE)
    # Turned to the right of the picture, the head hides its left (the picture's right) cheek.
    half = flow.head.copy()
    half[:, :80] = False
    assert flow.visible[half].mean() < 0.3
    half = flow.head.copy()
    half[:, 60:] = False
    assert flow.visible[half].mean() > 0.8
