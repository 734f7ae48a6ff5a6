"""Tensors as kernels see them, and how their numbers are read and written.

A kernel's block handles neighbouring pixels of one image in reading order. Planes begin at 64-bit
offsets; inside a plane offsets are of a type of their own, ``INDEX``: 32 bits where they suffice.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import triton
import triton.language as tl
from torch import Tensor


def kernel(function: Callable[..., None]) -> Any:
    """What is launched. Compiled once for all sizes: Triton would again for 1 and multiples of 16.

    A thread has one pixel and accesses single numbers, which gain nothing by that.
    """
    parameters = inspect.signature(function).parameters.values()
    varying = [it.name for it in parameters if it.annotation != "tl.constexpr"]
    return triton.jit(function, do_not_specialize=varying)


class View(NamedTuple):
    """A tensor (N, C, H, W): memory, strides as `view` writes them. No memory: not wanted."""

    data: Any
    n: Any
    c: Any
    h: Any
    w: Any


def view(tensor: Tensor | None) -> View:
    """A tensor (N, C, H, W) or (N, H, W) as kernels see it."""
    n, *c, h, w = (0, 0, 0) if tensor is None else tensor.stride()
    strides = n, c[0] if c else 0, h, w
    # Odd numbers, and never 1: inside of tuples Triton cannot be kept from compiling again.
    return View(tensor, *(2 * stride + 3 for stride in strides))


@triton.jit
def elements(stride):
    """A stride of a view, in elements."""
    return (stride - 3) >> 1


@triton.jit
def site(blocks, h, w, INDEX: tl.constexpr, BLOCK: tl.constexpr):
    """Where a program works: the image, its pixels' y and x, and which of them exist."""
    program = tl.program_id(0)
    pixel = (program % blocks).to(INDEX) * BLOCK + tl.arange(0, BLOCK)
    return program // blocks, pixel // w, pixel % w, pixel < tl.cast(h, INDEX) * w


@triton.jit
def plane(v, n, c):
    """Where plane c of image n begins."""
    return v.data + (tl.cast(n, tl.int64) * elements(v.n) + tl.cast(c, tl.int64) * elements(v.c))


@triton.jit
def within(v, y, x):
    """Where a pixel is inside of a plane."""
    return y * elements(v.h) + x * elements(v.w)


@triton.jit
def load(v, n, c, y, x, inside, WORKING: tl.constexpr):
    """The numbers of plane c as they are stored; 0 where there are no pixels."""
    return tl.load(plane(v, n, c) + within(v, y, x), inside, other=0).to(WORKING)


@triton.jit
def store(v, n, c, y, x, value, inside):
    """Rounds to the type of the tensor, from fp64 to half types by way of fp32."""
    if v.data.dtype.element_ty.primitive_bitwidth == 16:
        value = value.to(tl.float32)
    value = value.to(v.data.dtype.element_ty)
    tl.store(plane(v, n, c) + within(v, y, x), value, inside)


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
