"""The gradient of the image: every pixel of the output adds to the four it was sampled from.

Sums are kept in the working type. Atomics add to them in whatever order the programs run. Where the
result must not depend on that order, contributions are added as whole numbers: multiples of a power
of two, chosen for each image so that no sum can overflow. That keeps 61 bits less the logarithm of
the number of pixels, counted from the largest gradient that comes in. Infinite and NaN
contributions have no such number. They are added to the sums as they are, which gives the same
result in any order.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from tcae_ops.triton.tensors import kernel, load, plane, site

ROOM = 61  # bits for the gradient by one sample, if every sample is added to one pixel


@triton.jit
def scatter(sums, wholes, scale, n, c, at, exist, weights, known, by_sample):
    """Add the gradients by samples to the pixels of their cells. A NaN position has none."""
    for i in tl.static_range(4):
        value = weights[i] * by_sample
        wanted = exist[i] & known & (value != 0)
        if wholes.data is not None:
            finite = value - value == 0
            whole = tl.floor(value.to(tl.float64) * scale + 0.5).to(tl.int64)
            tl.atomic_add(plane(wholes, n, c) + at[i], whole, wanted & finite, sem="relaxed")
            wanted = wanted & ~finite
        tl.atomic_add(plane(sums, n, c) + at[i], value, wanted, sem="relaxed")


@kernel
def largest_kernel(
    by_warped,
    largest,
    blocks,
    channels,
    h,
    w,
    WORKING: tl.constexpr,
    INDEX: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Store the largest finite gradient by the warped image in each block."""
    n, y, x, inside = site(blocks, h, w, INDEX, BLOCK)
    most = tl.full([BLOCK], 0.0, WORKING)
    for c in range(channels):
        size = tl.abs(load(by_warped, n, c, y, x, inside, WORKING))
        most = tl.where((size - size == 0) & (size > most), size, most)
    tl.store(largest + tl.program_id(0), tl.max(most, 0).to(tl.float64))


def scales(
    largest: Tensor | None, by_loss: Tensor | None, images: int, shape: torch.Size
) -> Tensor:
    """Return for each sample how many units of its image's whole numbers make 1.

    Args:
        largest: The largest gradients by the warped image, (N, blocks), or None.
        by_loss: The gradient of the losses, (N,), or None.
        images: How many: N, or one for all samples.
        shape: Of the warped image: (N, C, H, W).

    Returns:
        (N,) fp64, powers of two.
    """
    n, c, h, w = shape
    per_image = 1 if images == n else n
    bounds = []
    if largest is not None:
        bounds.append(largest.amax(1))
    if by_loss is not None:
        step = by_loss.double().abs() / (c * h * w)
        bounds.append(torch.where(step.isfinite(), step, 0.0))
    bound = torch.stack(bounds).sum(0).reshape(images, per_image).amax(1)
    room = ROOM - math.ceil(math.log2(per_image * h * w))
    power = (room - torch.frexp(bound).exponent).clamp(max=1000)
    return torch.ldexp(torch.ones_like(bound), power).repeat_interleave(per_image)


def finish(result: Tensor, sums: Tensor, wholes: Tensor | None, scale: Tensor | None) -> None:
    """Write the sums of both kinds together, rounded once, to the result, which may be `sums`."""
    if wholes is not None and scale is not None:
        sums += (wholes / scale[: len(wholes), None, None, None]).to(sums.dtype)
    if result is not sums:
        result.copy_(sums)
