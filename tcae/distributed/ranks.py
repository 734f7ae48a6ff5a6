"""The processes that train one model together: what each of them has to know of the others.

Each process ("rank") holds its part of a batch, all parts of one size. Alone, all is its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

_alone = False


def size() -> int:
    """How many processes train together; 1: this one alone."""
    together = dist.is_available() and dist.is_initialized() and not _alone
    return dist.get_world_size() if together else 1


def rank() -> int:
    """The number of this process, from 0; 0 is the one that writes."""
    return dist.get_rank() if size() > 1 else 0


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """What is done inside, this process does for itself."""
    global _alone
    before, _alone = _alone, True
    try:
        yield
    finally:
        _alone = before


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


def drawn(
    draw: Callable[..., Tensor], images: int, *shape: int, of_pair: int = 2, **options: Any
) -> Tensor:
    """Random numbers for this process's pairs, as one process that has the whole batch draws them.

    All processes draw for all of them, so their generators have to be in the same state and stay
    there together.

    Args:
        draw: `torch.randn` or the like.
        images: Of this process's pairs: all first ones, then all second ones.
        shape: Of an image's numbers.
        of_pair: How many images there are of each pair.
        options: For `draw`: dtype, device.

    Returns:
        (images, *shape).
    """
    whole = draw(of_pair, size(), images // of_pair, *shape, **options)
    return whole[:, rank()].flatten(0, 1)


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
