"""Tensors as kernels see them, and how their numbers are read and written.

A kernel's block handles neighbouring pixels of one image in reading order. Planes begin at 64-bit
offsets; inside a plane offsets are of a type of their own, ``INDEX``: 32 bits where they suffice.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import triton
import triton.language as tl
from torch import Tensor


class View(NamedTuple):
    """A tensor (N, C, H, W): its memory and its strides in elements. No memory: not wanted."""

    data: Any
    n: Any
    c: Any
    h: Any
    w: Any


ABSENT = View(None, 0, 0, 0, 0)


def view(tensor: Tensor | None) -> View:
    """A tensor (N, C, H, W) or (N, H, W) as kernels see it."""
    if tensor is None:
        return ABSENT
    n, *c, h, w = tensor.stride()
    return View(tensor, n, c[0] if c else 0, h, w)


@triton.jit
def site(blocks, h, w, INDEX: tl.constexpr, BLOCK: tl.constexpr):
    """Where a program works: the image, its pixels' y and x, and which of them exist."""
    program = tl.program_id(0)
    pixel = (program % blocks).to(INDEX) * BLOCK + tl.arange(0, BLOCK)
    return program // blocks, pixel // w, pixel % w, pixel < tl.cast(h, INDEX) * w


@triton.jit
def plane(v, n, c):
    """Where plane c of image n begins."""
    return v.data + (tl.cast(n, tl.int64) * v.n + tl.cast(c, tl.int64) * v.c)


@triton.jit
def load(v, n, c, y, x, inside, WORKING: tl.constexpr):
    """The numbers of plane c as they are stored; 0 where there are no pixels."""
    return tl.load(plane(v, n, c) + (y * v.h + x * v.w), inside, other=0).to(WORKING)


@triton.jit
def store(v, n, c, y, x, value, inside):
    """Rounds to the type of the tensor, from fp64 to half types by way of fp32."""
    if v.data.dtype.element_ty.primitive_bitwidth == 16:
        value = value.to(tl.float32)
    value = value.to(v.data.dtype.element_ty)
    tl.store(plane(v, n, c) + (y * v.h + x * v.w), value, inside)


@triton.jit
def divide(a, b):
    """A quotient, rounded correctly: Triton's own division of fp32 is not."""
    if a.dtype == tl.float32:
        return tl.math.div_rn(a, b)
    else:
        return a / b


@triton.jit
def shown(v, stored):
    """From stored numbers, or sums of weighted ones, to what an image shows: bytes are x / 255.

    The quotient is rounded correctly by two fused operations, which are cheaper than a division.
    """
    if v.data.dtype.element_ty == tl.uint8:
        inverse = tl.full([], 1 / 255, stored.dtype)
        quotient = stored * inverse
        return tl.fma(tl.fma(-quotient, 255.0, stored), inverse, quotient)
    else:
        return stored
