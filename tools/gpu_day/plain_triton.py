"""The warp as a good engineer would write it in Triton in an hour: what our kernels must beat.

Only what most people need: contiguous images, padding "border", normalised units.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from tcae_ops.selftest.providers import Run, differentiated
from tcae_ops.selftest.workloads import Problem, Workload

_BLOCK = 256  # pixels of a program


@triton.jit
def _cell(flow, sample, pixel, inside, height, width):
    """Return where a pixel is read: the cell's corner, its neighbours, and the position in it."""
    area = height * width
    at = flow + sample * 2 * area + pixel
    x = pixel % width + tl.load(at, inside, 0.0) * (width - 1) / 2
    y = pixel // width + tl.load(at + area, inside, 0.0) * (height - 1) / 2
    moves_x, moves_y = (x >= 0) & (x <= width - 1), (y >= 0) & (y <= height - 1)
    x = tl.minimum(tl.maximum(x, 0.0), width - 1.0)
    y = tl.minimum(tl.maximum(y, 0.0), height - 1.0)
    left, top = tl.floor(x).to(tl.int32), tl.floor(y).to(tl.int32)
    right, bottom = tl.minimum(left + 1, width - 1), tl.minimum(top + 1, height - 1)
    return left, top, right, bottom, x - left, y - top, moves_x, moves_y


@triton.jit
def _pixels(plane, left, top, right, bottom, width, inside):
    """Return the four pixels of a cell."""
    a = tl.load(plane + top * width + left, inside)
    b = tl.load(plane + top * width + right, inside)
    c = tl.load(plane + bottom * width + left, inside)
    d = tl.load(plane + bottom * width + right, inside)
    return a, b, c, d


@triton.jit
def _forward(image, flow, result, height, width, CHANNELS: tl.constexpr, BLOCK: tl.constexpr):
    sample, area = tl.program_id(1), height * width
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = pixel < area
    left, top, right, bottom, dx, dy, _, _ = _cell(flow, sample, pixel, inside, height, width)
    for channel in tl.static_range(CHANNELS):
        plane = (sample * CHANNELS + channel) * area
        a, b, c, d = _pixels(image + plane, left, top, right, bottom, width, inside)
        value = (1 - dy) * ((1 - dx) * a + dx * b) + dy * ((1 - dx) * c + dx * d)
        tl.store(result + plane + pixel, value, inside)


@triton.jit
def _backward(
    image, flow, upstream, of_image, of_flow, height, width,
    CHANNELS: tl.constexpr, WITH_IMAGE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    sample, area = tl.program_id(1), height * width
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = pixel < area
    left, top, right, bottom, dx, dy, moves_x, moves_y = _cell(
        flow, sample, pixel, inside, height, width
    )
    along_x = tl.zeros([BLOCK], tl.float32)
    along_y = tl.zeros([BLOCK], tl.float32)
    for channel in tl.static_range(CHANNELS):
        plane = (sample * CHANNELS + channel) * area
        a, b, c, d = _pixels(image + plane, left, top, right, bottom, width, inside)
        gradient = tl.load(upstream + plane + pixel, inside)
        along_x += gradient * ((1 - dy) * (b - a) + dy * (d - c))
        along_y += gradient * ((1 - dx) * (c - a) + dx * (d - b))
        if WITH_IMAGE:
            rows, above, below = of_image + plane, (1 - dy) * gradient, dy * gradient
            tl.atomic_add(rows + top * width + left, above * (1 - dx), inside)
            tl.atomic_add(rows + top * width + right, above * dx, inside)
            tl.atomic_add(rows + bottom * width + left, below * (1 - dx), inside)
            tl.atomic_add(rows + bottom * width + right, below * dx, inside)
    at = of_flow + sample * 2 * area + pixel
    tl.store(at, tl.where(moves_x, along_x, 0.0) * (width - 1) / 2, inside)
    tl.store(at + area, tl.where(moves_y, along_y, 0.0) * (height - 1) / 2, inside)


class _Warp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor, flow: Tensor) -> Tensor:
        image, flow = image.contiguous(), flow.contiguous()
        ctx.save_for_backward(image, flow)
        result = torch.empty_like(image)
        count, channels, height, width = image.shape
        programs = triton.cdiv(height * width, _BLOCK), count
        _forward[programs](image, flow, result, height, width, CHANNELS=channels, BLOCK=_BLOCK)
        return result

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, Tensor]:
        image, flow = ctx.saved_tensors
        count, channels, height, width = image.shape
        with_image, of_flow = ctx.needs_input_grad[0], torch.empty_like(flow)
        of_image = torch.zeros_like(image) if with_image else None
        _backward[triton.cdiv(height * width, _BLOCK), count](
            image, flow, upstream.contiguous(), of_image, of_flow, height, width,
            CHANNELS=channels, WITH_IMAGE=with_image, BLOCK=_BLOCK,
        )  # fmt: skip
        return of_image, of_flow


def plain_triton(workload: Workload, problem: Problem) -> Run:
    """Provide `warp` of fp32 images."""
    return differentiated(problem, lambda: _Warp.apply(problem.image, problem.flows[0]))
