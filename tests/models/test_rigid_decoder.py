"""The rigid motion against matrices and a loop over pixels, and the decoder that asks for it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tcae.models.rigid_decoder import RigidDecoder, rigid_flow

SIZE, D = 16, 5
UNITS = (0.5, 0.5, 0.3, 0.3, 0.3, 0.3)
LINE = np.linspace(-1, 1, SIZE)


def about(axis: tuple[int, int, int], angle: float) -> NDArray[np.float64]:
    """Rodrigues' formula: cos I + sin [axis] + (1 - cos) axis axis^T."""
    a, b, c = axis
    cross = np.array([[0, -c, b], [c, 0, -a], [-b, a, 0]], float)
    outer = np.outer(axis, axis)
    return math.cos(angle) * np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * outer


def rotation(pose: NDArray[np.float64]) -> NDArray[np.float64]:
    """Yaw about the axis down the picture first, then pitch about x, then roll about the view."""
    return about((0, 0, 1), pose[2]) @ about((1, 0, 0), pose[1]) @ about((0, 1, 0), pose[0])


def lifted(pose: NDArray[np.float64], x: float, y: float, z: float) -> NDArray[np.float64]:
    """The point of the unturned head that a pixel shows."""
    shown = np.array([(x - pose[4]) / math.exp(pose[3]), (y - pose[5]) / math.exp(pose[3]), z])
    return rotation(pose).T @ shown


def seen(pose: NDArray[np.float64], point: NDArray[np.float64]) -> tuple[float, float, float]:
    """Where a camera shows a point of the unturned head, and its depth."""
    x, y, z = rotation(pose) @ point
    return math.exp(pose[3]) * x + pose[4], math.exp(pose[3]) * y + pose[5], z


def written_out(source, target, depth) -> NDArray[np.float64]:
    flow = np.empty((2, SIZE, SIZE))
    for row in range(SIZE):
        for column in range(SIZE):
            x, y = LINE[column], LINE[row]
            found = seen(source, lifted(target, x, y, depth[row, column]))
            flow[:, row, column] = found[0] - x, found[1] - y
    return flow


def grid(dtype: torch.dtype = torch.float64) -> Tensor:
    x, y = np.meshgrid(LINE, LINE)
    return torch.tensor(np.stack([x, y]), dtype=dtype)


def drawn(count: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    poses = torch.randn(2, count, 6, generator=generator, dtype=torch.float64) * 0.4
    depth = torch.randn(count, SIZE, SIZE, generator=generator, dtype=torch.float64)
    return poses[0], poses[1], depth


def test_lift_turn_and_project_pixel_by_pixel() -> None:
    source, target, depth = drawn(4)
    found = rigid_flow(source, target, depth, grid())
    for i in range(4):
        expected = written_out(source[i].numpy(), target[i].numpy(), depth[i].numpy())
        torch.testing.assert_close(found[i], torch.from_numpy(expected))


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-6), (torch.float64, 1e-14)])
def test_equal_poses_do_not_move(dtype: torch.dtype, error: float) -> None:
    source, _, depth = (values.to(dtype) for values in drawn(3))
    assert not rigid_flow(
        torch.zeros_like(source), torch.zeros_like(source), depth, grid(dtype)
    ).any()
    flow = rigid_flow(source, source, depth, grid(dtype))
    assert flow.abs().max() < error * (1 + depth.abs().max())


def one_pose(**values: float) -> Tensor:
    names = ("yaw", "pitch", "roll", "scale", "x", "y")
    return torch.tensor([[values.get(name, 0.0) for name in names]], dtype=torch.float64)


def test_motions_known_by_hand() -> None:
    x, y = grid()
    depth = drawn(1)[2]
    still, angle = one_pose(), 0.3
    c, s = math.cos(angle), math.sin(angle)
    flat = torch.zeros_like(x)
    cases = [
        (one_pose(x=0.2, y=-0.1), still, (flat + 0.2, flat - 0.1)),
        (still, one_pose(x=0.2, y=-0.1), (flat - 0.2, flat + 0.1)),
        (one_pose(scale=math.log(1.5)), still, (0.5 * x, 0.5 * y)),
        (still, one_pose(scale=math.log(2)), (-0.5 * x, -0.5 * y)),
        # y points down: a positive roll takes what is on the right downwards.
        (one_pose(roll=angle), still, ((c - 1) * x - s * y, s * x + (c - 1) * y)),
        # Only these two see the depth: what is near goes right, or up.
        (one_pose(yaw=angle), still, ((c - 1) * x + s * depth[0], flat)),
        (one_pose(pitch=angle), still, (flat, (c - 1) * y - s * depth[0])),
    ]
    for source, target, expected in cases:
        found = rigid_flow(source, target, depth, grid())[0]
        torch.testing.assert_close(found, torch.stack(expected))


def test_two_motions_in_a_row_are_one() -> None:
    (source, middle), (target, _), depth = drawn(2, seed=1)
    depth = depth[:1]
    there = grid() + rigid_flow(middle[None], target[None], depth, grid())[0]
    nearness = torch.tensor(
        [
            [
                seen(middle.numpy(), lifted(target.numpy(), x, y, float(depth[0, row, column])))[2]
                for column, x in enumerate(LINE)
            ]
            for row, y in enumerate(LINE)
        ]
    )
    for last in (source, target):  # back to the target: the motions undo each other
        found = there + rigid_flow(last[None], middle[None], nearness[None], there)[0]
        expected = grid() + rigid_flow(last[None], target[None], depth, grid())[0]
        torch.testing.assert_close(found, expected)


def decoder(seed: int = 0) -> RigidDecoder:
    torch.manual_seed(seed)
    return RigidDecoder(SIZE, D)


def turning() -> RigidDecoder:
    """A decoder that has learned some poses and a surface."""
    model = decoder()
    torch.nn.init.normal_(model.pose.weight)
    torch.nn.init.normal_(model.pose.bias, std=0.1)
    torch.nn.init.normal_(model.surface[-1].weight, std=0.3)
    return model


def test_starts_as_the_identity() -> None:
    motion = decoder()(torch.randn(3, D), torch.randn(3, D))
    assert motion.shape == (3, 3, SIZE, SIZE)
    assert not motion.any()


def test_poses_are_learned_from_the_start_though_they_are_zero() -> None:
    model = decoder()
    source, target = torch.randn(2, 3, D, requires_grad=True)
    wanted = torch.randn(3, 2, SIZE, SIZE)
    (model(source, target)[:, :2] * wanted).sum().backward()
    gradient = model.pose.weight.grad
    assert gradient is not None and (gradient.abs().amax(1) > 1e-3).all()  # each of the six


def test_decoder_is_the_motion_of_a_dome_that_the_target_shapes() -> None:
    model = turning().double().eval()
    torch.nn.init.zeros_(model.surface[-1].weight)
    with torch.no_grad():
        model.surface[-1].bias.copy_(torch.tensor([0.2, 0.7]))  # a thicker head, everywhere
    embeddings = torch.randn(2, 3, D, dtype=torch.float64)
    found = model(*embeddings)
    depth = np.array(
        [[0.2 + math.sqrt(max(1 - x * x - (y / 1.2) ** 2, 0)) for x in LINE] for y in LINE]
    )
    weight, bias = (p.detach().numpy() for p in model.pose.parameters())
    poses = (embeddings.numpy() @ weight.T + bias) * UNITS
    for i in range(3):
        expected = torch.from_numpy(written_out(poses[0, i], poses[1, i], depth))
        torch.testing.assert_close(found[i, :2], expected, rtol=1e-6, atol=1e-6)
    logit = torch.full_like(found[:, 2], math.tanh(0.7))
    torch.testing.assert_close(found[:, 2], logit, rtol=1e-6, atol=1e-6)  # constants are of fp32


@pytest.mark.parametrize("size", [32, 64])
def test_between_knots_the_surface_is_bicubic(size: int) -> None:
    model = RigidDecoder(size, D).eval()
    torch.nn.init.normal_(model.surface[-1].weight)
    embeddings = torch.randn(3, D)
    knots = model.surface(embeddings)
    expected = F.interpolate(knots, size=size, mode="bicubic", align_corners=True)[:, 1:].tanh()
    found = model(embeddings, embeddings)[:, 2:]
    assert knots.shape[-1] == 8 and found.std() > 0.1
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_surface_is_the_targets() -> None:
    model = turning().eval()
    one, other, source = torch.randn(3, 1, D)
    blind = torch.zeros_like(model.pose.weight)
    with torch.no_grad():
        model.pose.weight.copy_(blind)
        moved = [model(a, b)[:, 2] for a, b in ((source, one), (other, one), (one, other))]
    assert moved[0].equal(moved[1]) and not moved[0].equal(moved[2])


def test_motion_is_fp32_under_autocast() -> None:
    """Poses of fp32 embeddings lose nothing, so neither does the flow of a given surface."""
    model = turning().eval()
    torch.nn.init.zeros_(model.surface[-1].weight)
    source, target = torch.randn(2, 4, D)
    exact = model(source, target)
    with torch.autocast("cpu", torch.bfloat16):
        found = model(source, target)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-6)


def test_a_flow_has_a_handful_of_degrees_of_freedom() -> None:
    """Flows of one surface, from one target pose to any others, span few dimensions."""
    source, target, depth = (values[:40] for values in drawn(40, seed=2))
    flows = rigid_flow(source, target[:1].expand(40, -1), depth[:1].expand(40, -1, -1), grid())
    values = torch.linalg.svdvals(flows.flatten(1))
    assert (values > 1e-9 * values[0]).sum() == 8  # an affine map of (x, y, depth) to two numbers
