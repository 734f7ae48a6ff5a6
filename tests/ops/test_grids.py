"""Grids of grid_sample as flows: `warp` samples the same pixels, under every convention."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import tcae_ops
from tcae_ops import flow_from_grid, grid_from_flow

SIZES = st.tuples(st.integers(2, 40), st.integers(2, 40))


def explore(**strategies):
    return lambda check: settings(max_examples=60, deadline=None, database=None)(
        given(seed=st.integers(0, 99), **strategies)(check)
    )


def random_grid(size, seed):
    """A grid of fp64 whose positions reach beyond the image."""
    generator = torch.Generator().manual_seed(seed)
    return 1.5 * (2 * torch.rand(2, *size, 2, generator=generator, dtype=torch.float64) - 1)


# Of a conversion and of what grid_sample itself rounds, at images of 40 pixels.
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-12}


@explore(
    size=SIZES,
    out=SIZES,
    align_corners=st.booleans(),
    units=st.sampled_from(["pixels", "normalized"]),
    padding=st.sampled_from(["border", "zeros", "reflection"]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_warp_samples_where_grid_sample_does(size, out, align_corners, units, padding, dtype, seed):
    if padding == "reflection":
        align_corners = True  # else grid_sample mirrors at the outer edges
    grid = random_grid(out, seed).to(dtype)
    image = torch.rand(2, 2, *size, dtype=dtype)
    flow = flow_from_grid(grid, size, align_corners=align_corners, units=units)
    assert flow.dtype == dtype
    warped = tcae_ops.warp(image, flow, units=units, padding=padding)
    expected = F.grid_sample(image, grid, padding_mode=padding, align_corners=align_corners)
    torch.testing.assert_close(warped, expected, rtol=0, atol=TOLERANCE[dtype])


@explore(
    size=SIZES,
    out=SIZES,
    align_corners=st.booleans(),
    units=st.sampled_from(["pixels", "normalized"]),
)
def test_there_and_back_is_the_same_grid(size, out, align_corners, units, seed):
    grid = random_grid(out, seed)
    options = {"align_corners": align_corners, "units": units}
    again = grid_from_flow(flow_from_grid(grid, size, **options), size, **options)
    torch.testing.assert_close(again, grid, rtol=0, atol=1e-12)


@pytest.mark.parametrize("align_corners", [False, True])
def test_no_displacement_is_the_grid_of_the_identity(align_corners):
    grid = F.affine_grid(torch.eye(2, 3)[None], [1, 1, 5, 7], align_corners=align_corners)
    got = grid_from_flow(torch.zeros(1, 2, 5, 7), (5, 7), align_corners=align_corners)
    torch.testing.assert_close(got, grid)


def test_both_can_be_differentiated():
    grid = random_grid((3, 4), 0).requires_grad_()
    for align_corners in (False, True):
        assert torch.autograd.gradcheck(
            lambda g, a=align_corners: grid_from_flow(
                flow_from_grid(g, (6, 5), align_corners=a, units="normalized"), (9, 8)
            ),
            grid,
        )


def test_half_types_become_fp32():
    """Positions in a half type would be off by parts of a pixel."""
    assert flow_from_grid(torch.zeros(1, 2, 2, 2).half(), (2, 2)).dtype == torch.float32
    assert grid_from_flow(torch.zeros(1, 2, 2, 2).bfloat16(), (2, 2)).dtype == torch.float32


def test_one_pixel():
    image, grid = torch.rand(1, 1, 1, 1), random_grid((1, 1), 0).float()
    warped = tcae_ops.warp(image, flow_from_grid(grid[:1], (1, 1)), padding="zeros")
    expected = F.grid_sample(image, grid[:1], align_corners=False)
    torch.testing.assert_close(warped, expected)


GRID, FLOW = torch.zeros(1, 4, 5, 2), torch.zeros(1, 2, 4, 5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: flow_from_grid(FLOW, (4, 5)), ValueError, r"grid has shape .*\(N, H, W, 2\)"),
        (lambda: grid_from_flow(GRID, (4, 5)), ValueError, r"flow has shape .*\(N, 2, H, W\)"),
        (lambda: flow_from_grid([1], (4, 5)), TypeError, "grid is a list"),
        (lambda: grid_from_flow(FLOW.int(), (4, 5)), TypeError, "flow is of type int32"),
        (lambda: flow_from_grid(GRID, (4, 5), units="metres"), ValueError, "units is 'metres'"),
        (lambda: grid_from_flow(FLOW, (4, 5), units="metres"), ValueError, "units is 'metres'"),
        (lambda: flow_from_grid(GRID, 4), ValueError, r"size is 4, but must be \(H, W\)"),
        (lambda: grid_from_flow(FLOW, (4,)), ValueError, r"size is \(4,\), but must be \(H, W\)"),
        (lambda: flow_from_grid(GRID, (0, 5)), ValueError, r"size is \(0, 5\).*at least 1"),
        (
            lambda: flow_from_grid(GRID, (1, 5), units="normalized"),
            ValueError,
            r"size is \(1, 5\).*at least 2",
        ),
        (
            lambda: grid_from_flow(FLOW, (4, 1), align_corners=True),
            ValueError,
            r"size is \(4, 1\).*at least 2",
        ),
    ],
)
def test_wrong_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
