"""Sparsity of the AU flow, Eq. (1): an action moves little of a face."""

from __future__ import annotations

import torch
from torch import Tensor

from tcae.models.precision import wide


def sparsity(flow: Tensor, clamp: bool) -> Tensor:
    """Return the mean absolute value of each flow.

    Args:
        flow: (N, 2, S, S) in normalised units.
        clamp: Count a displacement only as far as it stays in the image (released code).

    Returns:
        (N,), fp32 (fp64 for fp64).
    """
    flow = wide(flow)
    if clamp:
        flow = _within_image(flow)
    return flow.abs().mean((1, 2, 3))


def _within_image(flow: Tensor) -> Tensor:
    """Return a flow in normalised units, cut where it would leave [-1, 1]."""
    height, width = flow.shape[-2:]
    y = torch.linspace(-1, 1, height, dtype=flow.dtype, device=flow.device)
    x = torch.linspace(-1, 1, width, dtype=flow.dtype, device=flow.device)
    position = torch.stack(torch.meshgrid(x, y, indexing="xy"))
    return flow.clamp(-1 - position, 1 - position)
