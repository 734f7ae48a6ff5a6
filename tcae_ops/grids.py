"""To displacement fields from the grids of ``torch.nn.functional.grid_sample``, and back.

A grid says where to sample, a flow how far from the own pixel. Grids are in [-1, 1], where -1 and 1
are the centres of the first and the last pixel (``align_corners=True``) or their outer edges
(``align_corners=False``, torch's default).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tcae_ops.checks import FLOAT_DTYPES, check_tensor, check_units
from tcae_ops.reference import pixel_indices, working_dtype
from tcae_ops.request import Units


def flow_from_grid(
    grid: Tensor, size: Sequence[int], *, align_corners: bool = False, units: Units = "pixels"
) -> Tensor:
    """Return the flow with which ``warp`` samples where ``grid_sample`` does with a grid.

    ``warp(image, flow_from_grid(grid, image.shape[2:]))`` is ``F.grid_sample(image, grid)`` under
    ``padding="zeros"`` and ``"border"``, but for rounding. Under ``"reflection"`` it is, if
    ``align_corners``: else ``grid_sample`` mirrors at the outer edges of the image.

    Args:
        grid: (N, H, W, 2), any float type; the last axis is x, then y. H and W are the size of the
            warped image.
        size: Height and width of the image that is sampled.
        align_corners: As for ``grid_sample``.
        units: Of the result, as for ``warp``. With "normalized" the image must have two pixels or
            more along both axes.

    Returns:
        The flow (N, 2, H, W), fp32 (fp64 if the grid is). It can be differentiated.

    Raises:
        TypeError: The grid is not a tensor of a float type.
        ValueError: A shape, size or unit does not fit.

    Example:
        >>> import torch, tcae_ops
        >>> image, grid = torch.rand(1, 3, 8, 8), torch.rand(1, 5, 6, 2) - 0.5
        >>> flow = flow_from_grid(grid, image.shape[2:], align_corners=True)
        >>> sampled = torch.nn.functional.grid_sample(image, grid, align_corners=True)
        >>> torch.allclose(tcae_ops.warp(image, flow), sampled, atol=1e-5)
        True
    """
    _check("grid", grid, 3, "(N, H, W, 2)")
    half = _half_sizes(size, units)
    grid = grid.to(working_dtype(grid))
    flows = []
    for axis, own in enumerate(pixel_indices(grid[..., 0])):
        # Half the distance that a grid's 2 stands for, and where its 0 is: in the middle.
        scale = half[axis] if align_corners else half[axis] + 0.5
        flow = (grid[..., axis] * scale + half[axis]) - own
        flows.append(flow / half[axis] if units == "normalized" else flow)
    return torch.stack(flows, 1)


def grid_from_flow(
    flow: Tensor, size: Sequence[int], *, align_corners: bool = False, units: Units = "pixels"
) -> Tensor:
    """Return the grid with which ``grid_sample`` samples where ``warp`` does with a flow.

    Args:
        flow: (N, 2, H, W), any float type.
        size: Height and width of the image that is sampled. With ``align_corners`` it must have two
            pixels or more along both axes.
        align_corners: As for ``grid_sample``.
        units: Of the flow, as for ``warp``.

    Returns:
        The grid (N, H, W, 2), fp32 (fp64 if the flow is). It can be differentiated.

    Raises:
        TypeError: The flow is not a tensor of a float type.
        ValueError: A shape, size or unit does not fit.

    Example:
        >>> import torch
        >>> grid_from_flow(torch.zeros(1, 2, 1, 2), (1, 2))[0, 0]
        tensor([[-0.5000,  0.0000],
                [ 0.5000,  0.0000]])
    """
    _check("flow", flow, 1, "(N, 2, H, W)")
    half = _half_sizes(size, "normalized" if align_corners else "pixels")
    check_units(units)
    flow = flow.to(working_dtype(flow))
    positions = []
    for axis, own in enumerate(pixel_indices(flow[:, 0])):
        moved = flow[:, axis] * (half[axis] if units == "normalized" else 1)
        scale = half[axis] if align_corners else half[axis] + 0.5
        positions.append((own + moved - half[axis]) / scale)
    return torch.stack(positions, -1)


def _half_sizes(size: Sequence[int], units: Units) -> tuple[float, float]:
    """Return half the distance between the first and the last pixel, along x and y."""
    check_units(units)
    if not isinstance(size, Sequence) or len(size) != 2:
        raise ValueError(f"size is {size!r}, but must be (H, W)")
    h, w = size
    least = 2 if units == "normalized" else 1
    if min(h, w) < least:
        raise ValueError(f"size is {(h, w)}, but must be (H, W) of at least {least} here")
    return (w - 1) / 2, (h - 1) / 2


def _check(name: str, value: Tensor, axis: int, shape: str) -> None:
    check_tensor(name, value, FLOAT_DTYPES)
    if value.dim() != 4 or value.shape[axis] != 2:
        raise ValueError(f"{name} has shape {tuple(value.shape)}, but must be {shape}")
