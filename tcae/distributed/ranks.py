"""What each of the processes that train one model together has to know of the others.

Every process, a "rank", holds a part of each batch. All parts have the same size. A process that is
alone holds the whole batch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

_alone = False


def world_size() -> int:
    """Return how many processes train together. 1 if this one is alone."""
    together = dist.is_available() and dist.is_initialized() and not _alone
    return dist.get_world_size() if together else 1


def rank() -> int:
    """Return the number of this process, from 0. Rank 0 is the one that writes files."""
    return dist.get_rank() if world_size() > 1 else 0


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Act as if this process were the only one inside the ``with`` block."""
    global _alone
    before, _alone = _alone, True
    try:
        yield
    finally:
        _alone = before


def gather(values: Tensor) -> Tensor:
    """Return the values of all processes, in the order of their ranks.

    The gradient is that of the losses of all processes together. Whatever depends on the whole
    batch, such as a mean over it, needs this.

    Args:
        values: (N, ...), of the same shape and dtype everywhere.

    Returns:
        (world_size() * N, ...); `values` itself if this process is alone.

    Example:
        >>> gather(torch.tensor([1.0, 2.0]))
        tensor([1., 2.])
    """
    if world_size() == 1:
        return values
    everything: Tensor = _Gather.apply(values)
    return everything


def draw(
    random: Callable[..., Tensor], images: int, *shape: int, of_pair: int = 2, **options: Any
) -> Tensor:
    """Draw the random numbers that these pairs would get if one process had the whole batch.

    Every process draws for all of them. So their random generators must be in the same state, and
    they stay in the same state.

    Args:
        random: `torch.randn` or the like.
        images: How many images this process has: the first of each pair, then the second of each.
        shape: Shape of the numbers of one image.
        of_pair: How many images a pair has.
        options: Passed to `random`: dtype, device.

    Returns:
        (images, *shape).
    """
    whole = random(of_pair, world_size(), images // of_pair, *shape, **options)
    return whole[:, rank()].flatten(0, 1)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        values = values.contiguous()
        parts = [torch.empty_like(values) for _ in range(world_size())]
        dist.all_gather(parts, values)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous().clone()
        dist.all_reduce(gradient)
        return gradient.chunk(world_size())[rank()]
