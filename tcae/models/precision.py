"""Precision of what must not be computed in half precision."""

from __future__ import annotations

import torch
from torch import Tensor


def wide(values: Tensor) -> Tensor:
    """Return values in fp32, or fp64 if they are, even under autocast."""
    return values if values.dtype == torch.float64 else values.float()
