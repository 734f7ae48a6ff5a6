"""The processes that train one model together: what each of them has to know of the others.

Each process ("rank") holds its part of a batch, all parts of one size. Alone, all is its own.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def size() -> int:
    """How many processes train together; 1: this one alone."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0; 0 is the one that writes."""
    return dist.get_rank() if size() > 1 else 0


def gathered(values: Tensor) -> Tensor:
    """The values of all processes, one process after the other.

    The gradient is that of all processes' losses together, as it has to be for what depends on the
    whole batch: a statistic, say.

    Args:
        values: (N, ...), of the same shape and dtype everywhere.

    Returns:
        (size() * N, ...); `values` itself if this process is alone.

    Example:
        >>> gathered(torch.tensor([1.0, 2.0]))
        tensor([1., 2.])
    """
    if size() == 1:
        return values
    found: Tensor = _Gathered.apply(values)
    return found


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        values = values.contiguous()
        parts = [torch.empty_like(values) for _ in range(size())]
        dist.all_gather(parts, values)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous().clone()
        dist.all_reduce(gradient)
        return gradient.chunk(size())[rank()]
