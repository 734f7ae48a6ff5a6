"""Forward pass: samples, and their distance from the target."""

from __future__ import annotations

from collections.abc import Sequence

import triton.language as tl
from torch import Tensor

from tcae_ops.passes import forward_fake
from tcae_ops.request import Padding, Request, Units
from tcae_ops.triton.launch import Call, launch
from tcae_ops.triton.sample import bilinear, corners, offsets, positions, read
from tcae_ops.triton.tensors import kernel, load, shown, site, store, view


@kernel
def forward_kernel(
    image,
    flows,
    logits,
    target,
    warped,
    distances,
    blocks,
    channels,
    h,
    w,
    height,
    width,
    normalized,
    PADDING: tl.constexpr,
    WORKING: tl.constexpr,
    INDEX: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Sample a block's pixels. Store the sum of |sample - target| of each block."""
    n, y, x, inside = site(blocks, h, w, INDEX, BLOCK)
    px, py, _, _, _ = positions(
        flows, logits, n, y, x, inside, height, width, normalized, PADDING, WORKING
    )
    columns, rows, exist, weights, _, _ = corners(px, py, height, width, inside, PADDING, INDEX)
    at = offsets(image, columns, rows)
    distance = tl.full([BLOCK], 0.0, WORKING)
    for c in range(channels):
        sample = shown(image, bilinear(weights, read(image, n, c, at, exist, WORKING)))
        if warped.data is not None:
            store(warped, n, c, y, x, sample, inside)
        if target.data is not None:
            target_value = shown(target, load(target, n, c, y, x, inside, WORKING))
            distance += tl.where(inside, tl.abs(sample - target_value), 0.0)
    if target.data is not None:
        tl.store(distances + tl.program_id(0), tl.sum(distance, 0).to(tl.float64))


@kernel
def loss_kernel(distances, loss, blocks, count, BLOCK: tl.constexpr):
    """Store the mean of each sample: the sums of its blocks, added in a fixed order."""
    n = tl.program_id(0)
    sums = tl.full([BLOCK], 0.0, tl.float64)
    for first in range(0, blocks, BLOCK):
        i = first + tl.arange(0, BLOCK)
        sums += tl.load(distances + tl.cast(n, tl.int64) * blocks + i, i < blocks, other=0)
    mean = tl.sum(sums, 0) / tl.cast(count, tl.float64)
    tl.store(loss + n, mean.to(loss.dtype.element_ty))


def forward(
    inputs: Sequence[Tensor],
    flows: int,
    logits: int,
    units: Units,
    padding: Padding,
    return_warped: bool,
) -> list[Tensor]:
    """Run TCAE_OPS_FORWARD of csrc/torch/schemas.h."""
    results = forward_fake(inputs, flows, logits, units, padding, return_warped)
    request = Request.of(inputs, flows, logits, units, padding, return_warped)
    call = Call.of(request, results[-1:] if return_warped else [])
    has_loss = bool(request.target)
    distances = call.scratch() if has_loss else None
    warped = view(results[-1] if return_warped else None)
    launch(
        forward_kernel,
        call.programs,
        call.image,
        *call.views,
        warped,
        distances,
        *call.sizes,
        **call.sampling,
        **call.types,
    )
    if has_loss:
        n, loss = call.shape[0], results[0]
        sizes = call.blocks, call.numbers
        launch(loss_kernel, n, call.image, distances, loss, *sizes, BLOCK=256)
    return results
