"""Tensors as kernels see them, and how their numbers are read and written.

A block handles neighbouring pixels of one sample in reading order. Planes begin at 64-bit offsets.
Inside a plane offsets have their own type, ``INDEX``, of 32 bits where these suffice.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import triton
import triton.language as tl
from torch import Tensor


def kernel(function: Callable[..., None]) -> Any:
    """Mark a function as a kernel that is compiled once for all sizes.

    Triton would compile it again for sizes of 1 and for multiples of 16. A thread has one pixel and
    accesses single numbers, which gain nothing from that.
    """
    parameters = inspect.signature(function).parameters.values()
    varying = [it.name for it in parameters if it.annotation != "tl.constexpr"]
    return triton.jit(function, do_not_specialize=varying)


class View(NamedTuple):
    """A tensor (N, C, H, W): memory, and strides as `view` encodes them. No memory: unwanted."""

    data: Any
    n: Any
    c: Any
    h: Any
    w: Any


def view(tensor: Tensor | None) -> View:
    """Describe a tensor (N, C, H, W) or (N, H, W) to kernels. A batch of one serves all samples."""
    n, *c, h, w = (0, 0, 0) if tensor is None else tensor.stride()
    strides = 0 if tensor is not None and len(tensor) == 1 else n, c[0] if c else 0, h, w
    # Odd numbers, never 1: inside tuples nothing else keeps Triton from compiling again.
    return View(tensor, *(2 * stride + 3 for stride in strides))


@triton.jit
def elements(stride):
    """Decode a stride of a view, in elements."""
    return (stride - 3) >> 1


@triton.jit
def site(blocks, h, w, INDEX: tl.constexpr, BLOCK: tl.constexpr):
    """Return where a program works: the sample, its pixels' y and x, and which of them exist."""
    program = tl.program_id(0)
    pixel = (program % blocks).to(INDEX) * BLOCK + tl.arange(0, BLOCK)
    return program // blocks, pixel // w, pixel % w, pixel < tl.cast(h, INDEX) * w


@triton.jit
def plane(v, n, c):
    """Return the address where plane c of image n begins."""
    return v.data + (tl.cast(n, tl.int64) * elements(v.n) + tl.cast(c, tl.int64) * elements(v.c))


@triton.jit
def within(v, y, x):
    """Return the offset of a pixel inside a plane."""
    return y * elements(v.h) + x * elements(v.w)


@triton.jit
def load(v, n, c, y, x, inside, WORKING: tl.constexpr):
    """Load the numbers of plane c as they are stored, 0 where there are no pixels."""
    return tl.load(plane(v, n, c) + within(v, y, x), inside, other=0).to(WORKING)


@triton.jit
def store(v, n, c, y, x, value, inside):
    """Store after rounding to the type of the tensor, from fp64 to half types by way of fp32."""
    if v.data.dtype.element_ty.primitive_bitwidth == 16:
        value = value.to(tl.float32)
    value = value.to(v.data.dtype.element_ty)
    tl.store(plane(v, n, c) + within(v, y, x), value, inside)


@triton.jit
def divide(a, b):
    """Divide with correct rounding. Triton's own division of fp32 does not round correctly."""
    if a.dtype == tl.float32:
        return tl.math.div_rn(a, b)
    else:
        return a / b


@triton.jit
def shown(v, stored):
    """Convert stored numbers, or weighted sums of them, to image values: bytes are x / 255.

    Two fused operations round the quotient correctly and are cheaper than a division.
    """
    if v.data.dtype.element_ty == tl.uint8:
        inverse = tl.full([], 1 / 255, stored.dtype)
        quotient = stored * inverse
        return tl.fma(tl.fma(-quotient, 255.0, stored), inverse, quotient)
    else:
        return stored
