"""The pixels that a position samples, and their sample."""

from __future__ import annotations

import triton
import triton.language as tl

from tcae_ops.triton.blend import displacement
from tcae_ops.triton.coordinates import cell, fold, in_pixels
from tcae_ops.triton.tensors import elements, plane


@triton.jit
def unit(size, normalized, WORKING: tl.constexpr):
    """Return how many pixels a displacement of 1 stands for."""
    return tl.where(normalized, tl.cast(size - 1, WORKING) / 2, 1.0)


@triton.jit
def positions(
    flows,
    logits,
    n,
    y,
    x,
    inside,
    h,
    w,
    normalized,
    PADDING: tl.constexpr,
    WORKING: tl.constexpr,
):
    """Return where pixels sample the image: x and y inside it, both NaN if one is, and slopes.

    The last result is every field's part in the displacement.
    """
    dx, dy, parts = displacement(flows, logits, n, y, x, inside, WORKING)
    px = x.to(WORKING) + in_pixels(dx, unit(w, normalized, WORKING))
    py = y.to(WORKING) + in_pixels(dy, unit(h, normalized, WORKING))
    px, slope_x = fold(px, w, PADDING)
    py, slope_y = fold(py, h, PADDING)
    both = px + py  # finite unless one is NaN
    known = both == both
    return (
        tl.where(known, px, both),
        tl.where(known, py, both),
        tl.where(known, slope_x, 1.0),
        tl.where(known, slope_y, 1.0),
        parts,
    )


@triton.jit
def corners(px, py, h, w, inside, PADDING: tl.constexpr, INDEX: tl.constexpr):
    """Return the cells that positions lie in.

    Returns:
        Their columns and rows (two each), which of their pixels exist and what these weigh (four
        each: top left, top right, bottom left, bottom right), and the fractions of the positions.
    """
    left, right, fx = cell(px, w, PADDING, INDEX)
    above, below, fy = cell(py, h, PADDING, INDEX)
    left_is, right_is = (left >= 0) & (left < w), (right >= 0) & (right < w)
    above_is, below_is = inside & (above >= 0) & (above < h), inside & (below >= 0) & (below < h)
    exist = above_is & left_is, above_is & right_is, below_is & left_is, below_is & right_is
    gx, gy = 1 - fx, 1 - fy
    return (left, right), (above, below), exist, (gy * gx, gy * fx, fy * gx, fy * fx), fx, fy


@triton.jit
def offsets(v, columns, rows):
    """Return the offsets of the pixels of cells inside a plane."""
    stride_h, stride_w = elements(v.h), elements(v.w)
    left, right = columns[0] * stride_w, columns[1] * stride_w
    above, below = rows[0] * stride_h, rows[1] * stride_h
    return above + left, above + right, below + left, below + right


@triton.jit
def read(v, n, c, at, exist, WORKING: tl.constexpr):
    """Read the pixels of cells as they are stored, 0 outside."""
    begin = plane(v, n, c)
    return (
        tl.load(begin + at[0], exist[0], other=0).to(WORKING),
        tl.load(begin + at[1], exist[1], other=0).to(WORKING),
        tl.load(begin + at[2], exist[2], other=0).to(WORKING),
        tl.load(begin + at[3], exist[3], other=0).to(WORKING),
    )


@triton.jit
def bilinear(weights, pixels):
    """Return the sample. A pixel of weight zero does not count, even if it is NaN or inf."""
    sum = weights[0] * pixels[0]
    for i in tl.static_range(1, 4):
        sum = tl.where(weights[i] != 0, sum + weights[i] * pixels[i], sum)
    return sum


@triton.jit
def slopes(fx, fy, pixels):
    """Return the derivatives of the sample by x and y."""
    dx = (1 - fy) * (pixels[1] - pixels[0]) + fy * (pixels[3] - pixels[2])
    dy = (1 - fx) * (pixels[2] - pixels[0]) + fx * (pixels[3] - pixels[1])
    return dx, dy
