"""What must not be computed in half precision."""

from __future__ import annotations

import torch
from torch import Tensor


def wide(values: Tensor) -> Tensor:
    """At least fp32, also under autocast."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
