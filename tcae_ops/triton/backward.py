"""Backward pass: gradients of flows, logits and target pixel by pixel, and that of the image."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
import triton
import triton.language as tl
from torch import Tensor

from tcae_ops.passes import backward_fake
from tcae_ops.request import Padding, Request, Units
from tcae_ops.triton import image_gradient
from tcae_ops.triton.blend import displacement_backward
from tcae_ops.triton.image_gradient import scatter
from tcae_ops.triton.launch import Call, launch
from tcae_ops.triton.sample import bilinear, corners, offsets, positions, read, slopes, unit
from tcae_ops.triton.tensors import divide, kernel, load, shown, site, store, view


@triton.jit
def forget(position, c):
    """Return the same position, but hide from compilers that it is the same for every channel.

    So they find the cells again for each channel. That is cheap, and the registers it saves let
    more threads run.
    """
    return position + tl.cast(c, position.dtype) * 0.0


@triton.jit
def by_samples(
    image,
    target,
    by_warped,
    step,
    n,
    c,
    y,
    x,
    inside,
    weights,
    pixels,
    WORKING: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Return the gradients by the samples of a channel and by the target. No step, no loss."""
    by_sample = tl.full([BLOCK], 0.0, WORKING)
    by_target_value = tl.full([BLOCK], 0.0, WORKING)
    if by_warped.data is not None:
        by_sample = load(by_warped, n, c, y, x, inside, WORKING)
    if step is not None:
        sample = shown(image, bilinear(weights, pixels))
        target_value = shown(target, load(target, n, c, y, x, inside, WORKING))
        sign = (sample > target_value).to(WORKING) - (sample < target_value).to(WORKING)
        by_sample += sign * step
        by_target_value = -sign * step
    return by_sample, by_target_value


@triton.jit
def by_displacement(image, by_position, slope, size, normalized, WORKING: tl.constexpr):
    """Turn the gradient by positions on an axis into the gradient by the displacement."""
    by = shown(image, by_position) * slope * unit(size, normalized, WORKING)
    return tl.where(slope == 0, 0.0, by)


@kernel
def backward_kernel(
    image,
    flows,
    logits,
    target,
    by_loss,
    by_loss_stride,
    by_warped,
    by_flows,
    by_logits,
    by_target,
    sums,
    wholes,
    scales,
    blocks,
    channels,
    h,
    w,
    count,
    height,
    width,
    normalized,
    MOVES: tl.constexpr,
    PADDING: tl.constexpr,
    WORKING: tl.constexpr,
    INDEX: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Compute the gradients of a block's pixels. MOVES: whether flows or logits need one."""
    n, y, x, inside = site(blocks, h, w, INDEX, BLOCK)
    px, py, slope_x, slope_y, parts = positions(
        flows, logits, n, y, x, inside, height, width, normalized, PADDING, WORKING
    )
    step = None
    if by_loss is not None:
        step = tl.load(by_loss + tl.cast(n, tl.int64) * by_loss_stride)
        step = divide(step, tl.cast(count, WORKING))
    by_x = tl.full([BLOCK], 0.0, WORKING)
    by_y = tl.full([BLOCK], 0.0, WORKING)
    for c in range(channels):
        columns, rows, exist, weights, fx, fy = corners(
            forget(px, c), forget(py, c), height, width, inside, PADDING, INDEX
        )
        pixels = None
        if MOVES or step is not None:
            pixels = read(image, n, c, offsets(image, columns, rows), exist, WORKING)
        by_sample, by_target_value = by_samples(
            image, target, by_warped, step, n, c, y, x, inside, weights, pixels, WORKING, BLOCK
        )
        if by_target.data is not None:
            store(by_target, n, c, y, x, by_target_value, inside)
        if MOVES:
            dx, dy = slopes(fx, fy, pixels)
            by_x += by_sample * dx
            by_y += by_sample * dy
        if sums.data is not None:
            # Read again for each channel: kept, it would take one register too many.
            scale = tl.load(scales + n) if wholes.data is not None else None
            to = offsets(sums, columns, rows)
            scatter(sums, wholes, scale, n, c, to, exist, weights, px == px, by_sample)
    if MOVES:
        by_x = by_displacement(image, by_x, slope_x, width, normalized, WORKING)
        by_y = by_displacement(image, by_y, slope_y, height, normalized, WORKING)
        displacement_backward(parts, by_flows, by_logits, n, y, x, inside, by_x, by_y)


def backward(
    upstream: Sequence[Tensor],
    by_loss: bool,
    inputs: Sequence[Tensor],
    flows: int,
    logits: int,
    units: Units,
    padding: Padding,
    needs: Sequence[int],
    deterministic: bool = False,
) -> list[Tensor]:
    """Run TCAE_OPS_BACKWARD of csrc/torch/schemas.h."""
    results = backward_fake(upstream, by_loss, inputs, flows, logits, units, padding, needs)
    by_input = dict(zip(needs, results, strict=True))
    request = Request.of(inputs, flows, logits, units, padding, len(upstream) > by_loss)
    call = Call.of(request, (*upstream[int(by_loss) :], *results))
    loss = upstream[0] if by_loss else None
    warped = upstream[-1] if request.return_warped else None
    end = 1 + flows + logits
    fields = [by_input.get(i) for i in range(1, end)]
    sums, wholes, scales = _sums(call, by_input.get(0), loss, warped, deterministic)
    launch(
        backward_kernel,
        call.programs,
        call.image,
        *call.views,
        loss,
        0 if loss is None else loss.stride(0),
        view(warped),
        tuple(map(view, fields[:flows])),
        tuple(map(view, fields[flows:])),
        view(by_input.get(end)),
        view(sums),
        view(wholes),
        scales,
        *call.sizes,
        call.numbers,
        MOVES=any(t is not None for t in fields),
        **call.sampling,
        **call.types,
    )
    if sums is not None:
        image_gradient.finish(by_input[0], sums, wholes, scales)
    return results


# See TCAE_OPS_BACKWARD_DETERMINISTIC in csrc/torch/schemas.h.
backward_deterministic = partial(backward, deterministic=True)


def _sums(
    call: Call,
    result: Tensor | None,
    by_loss: Tensor | None,
    by_warped: Tensor | None,
    deterministic: bool,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return the sums of the image's gradient: in the working type, as whole numbers, scales.

    The first are the result itself if it has the working type.
    """
    if result is None:
        return None, None, None
    same = result.dtype == call.working
    sums = result.zero_() if same else torch.zeros_like(result, dtype=call.working)
    if not deterministic:
        return sums, None, None
    largest = None
    if by_warped is not None:
        largest = call.scratch()
        launch(
            image_gradient.largest_kernel,
            call.programs,
            call.image,
            view(by_warped),
            largest,
            *call.sizes,
            **call.types,
        )
    scales = image_gradient.scales(largest, by_loss, len(result), call.shape)
    return sums, torch.zeros_like(result, dtype=torch.int64), scales
