"""From a displacement to the two pixels of an axis that it points between, under each padding."""

from __future__ import annotations

import triton
import triton.language as tl

from tcae_ops.triton.tensors import divide

# Whole quotients below this are exact even in fp32.
_RATIO = tl.constexpr(2.0**22)


@triton.jit
def in_pixels(displacement, unit):
    """Convert a displacement to pixels from a unit of so many pixels.

    The normalised unit is 0 pixels on an axis of one pixel. An infinite displacement stays
    infinite there, which 0 * inf would not.
    """
    scaled = displacement * unit
    return tl.where(scaled == scaled, scaled, displacement)


@triton.jit
def fold(position, size, PADDING: tl.constexpr):
    """Fold a position into the image (zeros: or next to it). Its derivative is -1, 0 or 1."""
    last = tl.cast(size - 1, position.dtype)
    if PADDING == "border":
        return _clamp(position, last * 0, last)
    elif PADDING == "zeros":
        return _clamp(position, last * 0 - 1, last + 1)
    else:
        tl.static_assert(PADDING == "reflection", f"fold() does not know padding {PADDING}")
        return _reflect(position, last)


@triton.jit
def _clamp(position, low, high):
    """Clamp, but keep NaN. The derivative is zero where the position was changed."""
    clamped = tl.where(position < low, low, tl.where(position > high, high, position))
    slope = tl.where((clamped == position) | (position != position), 1.0, 0.0)
    return clamped, slope.to(position.dtype)


@triton.jit
def _reflect(position, last):
    """Mirror at the centres of the first and last pixel. Nothing is rounded."""
    magnitude = tl.abs(position)
    sign = tl.where(position < 0, -1.0, 1.0).to(position.dtype)
    unmoved = (magnitude <= last) | (position != position)
    infinite = magnitude - magnitude != 0  # or NaN
    turn = _remainder(tl.where(infinite, 0.0, magnitude), tl.where(last == 0, 1, 2 * last))
    back = turn > last
    folded = tl.where(back, 2 * last - turn, turn)
    folded = tl.where(infinite, tl.where(position > 0, last, 0.0), tl.where(last == 0, 0.0, folded))
    slope = tl.where(infinite, 0.0, tl.where(last == 0, 0.0, tl.where(back, -sign, sign)))
    return tl.where(unmoved, magnitude, folded), tl.where(unmoved, sign, slope)


@triton.jit
def _remainder(x, period):
    """Return the remainder of x >= 0 after whole periods, exact as C's fmod.

    Large numbers are first reduced by multiples of the period, in steps whose quotients are small
    enough to be whole numbers. Then a fused product and difference is exact.
    """
    most = tl.max(x, 0)
    step = period
    while step * _RATIO <= most:
        step *= _RATIO
    while step >= period:
        x = tl.fma(-tl.floor(divide(x, step)), step, x)
        x = tl.where(x < 0, x + step, x)  # the quotient was rounded up to a whole number
        step /= _RATIO
    return x


@triton.jit
def cell(folded, size, PADDING: tl.constexpr, INDEX: tl.constexpr):
    """Return the two pixels of a cell on an axis, and the weight of the second.

    At the last pixel the second has no weight. It only counts in the derivative, where it is the
    pixel that follows as the padding continues the image. A NaN position gives pixel 0 and a NaN
    weight.
    """
    first = tl.floor(tl.where(folded == folded, folded, 0.0))
    fraction = folded - first
    first = first.to(INDEX)
    if PADDING == "border":
        after_last = size - 1
    elif PADDING == "zeros":
        after_last = size
    else:
        tl.static_assert(PADDING == "reflection", f"cell() does not know padding {PADDING}")
        after_last = tl.maximum(size - 2, 0)
    return first, tl.where(first == size - 1, after_last, first + 1), fraction
