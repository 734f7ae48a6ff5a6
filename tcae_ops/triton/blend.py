"""The softmax that blends displacement fields, and its gradients."""

from __future__ import annotations

import triton
import triton.language as tl

from tcae_ops.triton.tensors import divide, load, store

_SHIFT = tl.constexpr(12582912.0)  # 1.5 * 2^23: adding it rounds to an integer, in the low bits


@triton.jit
def exp_nonpositive(x):
    """Return exp(x) for x <= 0, to 1e-7 relative. Subnormal results are zero. NaN stays NaN.

    The polynomial is that of csrc/include/tcae_ops/blend.h: the fp32 exponential of GPUs is less
    exact.
    """
    if x.dtype == tl.float64:
        return tl.exp(x)
    else:
        shifted = x * 1.44269504 + _SHIFT
        n = shifted - _SHIFT
        r = x - n * 0.693359375 - n * -2.12194440e-4  # ln 2 in two parts: the first is not rounded
        p = r * 0.0013814539 + 0.0083687454  # (e^r - 1 - r) / r^2 on |r| <= ln(2) / 2, minimax
        p = p * r + 0.041668389
        p = p * r + 0.16666521
        p = p * r + 0.49999994
        p = 1.0 + (r + r * r * p)
        exponent = (shifted.to(tl.int32, bitcast=True) - 0x4B400000 + 127) << 23
        return tl.where(x < -87.0, 0.0, p * exponent.to(tl.float32, bitcast=True))


@triton.jit
def displacement(flows, logits, n, y, x, inside, WORKING: tl.constexpr):
    """Return the blended displacement, and every field's part in it. Read each field once.

    Returns:
        The displacement along x and y. For each field of a blend: its weight, and how far its
        displacement along x and y is from the blended one.
    """
    if len(logits) == 0:
        dx = load(flows[0], n, 0, y, x, inside, WORKING)
        return dx, load(flows[0], n, 1, y, x, inside, WORKING), ()
    else:
        fields = ()
        for k in tl.static_range(len(logits)):
            logit = load(logits[k], n, 0, y, x, inside, WORKING)
            by_x = load(flows[k], n, 0, y, x, inside, WORKING)
            by_y = load(flows[k], n, 1, y, x, inside, WORKING)
            fields += ((logit, by_x, by_y),)  # type: ignore[assignment]
        top = fields[0][0]  # type: ignore[misc]
        for k in tl.static_range(1, len(logits)):
            top = tl.where(fields[k][0] > top, fields[k][0], top)
        total = tl.full(top.shape, 0.0, WORKING)
        dx = tl.full(top.shape, 0.0, WORKING)
        dy = tl.full(top.shape, 0.0, WORKING)
        powers = ()
        for k in tl.static_range(len(logits)):
            power = exp_nonpositive(fields[k][0] - top)
            powers += (power,)  # type: ignore[assignment]
            total += power
            dx += power * fields[k][1]
            dy += power * fields[k][2]
        share = divide(tl.full([], 1.0, WORKING), total)
        dx *= share
        dy *= share
        parts = ()
        for k in tl.static_range(len(logits)):
            parts += ((powers[k] * share, fields[k][1] - dx, fields[k][2] - dy),)  # type: ignore[assignment]
        return dx, dy, parts


@triton.jit
def displacement_backward(parts, by_flows, by_logits, n, y, x, inside, by_dx, by_dy):
    """Store the gradients of flows and logits, where wanted, from that of the displacement."""
    if len(parts) == 0:
        store(by_flows[0], n, 0, y, x, by_dx, inside)
        store(by_flows[0], n, 1, y, x, by_dy, inside)
    else:
        for k in tl.static_range(len(parts)):
            weight, off_x, off_y = parts[k]
            if by_flows[k].data is not None:
                store(by_flows[k], n, 0, y, x, weight * by_dx, inside)
                store(by_flows[k], n, 1, y, x, weight * by_dy, inside)
            if by_logits[k].data is not None:
                by_logit = weight * (off_x * by_dx + off_y * by_dy)
                store(by_logits[k], n, 0, y, x, by_logit, inside)
