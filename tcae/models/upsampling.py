"""Bilinear x2 up-sampling and the 3x3 convolution after it as one operation.

On a CPU: a convolution is linear, and up-sampling treats all channels alike. So values can be
multiplied by the weights first, when there are a quarter as many, and up-sampled afterwards. On a
GPU, where starting an operation takes longer than doing it, the one simply follows the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

_FEW = 8  # channels; a convolution with four times as many takes no longer
_LARGE = 32  # side; from here on, matrices along an axis are mostly zeros and a blur is faster


def upsampled_conv(maps: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Up-sample square maps bilinearly, then convolve them with zero padding.

    The result is that of `conv2d(interpolate(maps, scale_factor=2, mode="bilinear"), weight, bias,
    padding=1)`, except for rounding. On a CPU the up-sampled maps are never computed, and only
    `maps` is kept for the gradient. On a GPU every operation is deterministic, as torch's own
    up-sampling is not.

    Args:
        maps: (N, C, S, S).
        weight: (C', C, 3, 3).
        bias: (C',) or None.

    Returns:
        (N, C', 2S, 2S).
    """
    if maps.is_cuda:
        return F.conv2d(_Bilinear.apply(maps), weight, bias, padding=1)
    side = maps.shape[-1]
    if len(weight) <= _FEW:
        return _beyond_edges(_by_phases, maps, weight, bias)
    if side >= _LARGE:
        return _beyond_edges(_by_blurring, maps, weight, bias)
    return _by_matrices(maps, weight, bias) if side > 1 else _of_points(maps, weight, bias)


def _upsampling_matrix(side: int, like: Tensor) -> Tensor:
    """Return the matrix (S, 2S) from values along an axis to up-sampled ones."""
    points = torch.eye(side, dtype=like.dtype, device=like.device)
    return F.interpolate(points[None], scale_factor=2, mode="linear")[0]


def _of_points(maps: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Add up the taps that fall on equal values: one value becomes 2x2 equal ones."""
    sums = F.avg_pool2d(weight, 2, stride=1, divisor_override=1)
    return F.conv2d(maps, sums, bias, padding=1)


def _by_matrices(maps: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Multiply by each tap, then up-sample, shift and add up along one axis after the other."""
    count, side, outputs = len(maps), maps.shape[-1], len(weight)
    across, down = _axis_matrices(side, weight)
    kernels = weight.permute(2, 3, 0, 1).flatten(1, 2)[..., None, None]  # (3, 3C', C, 1, 1)
    total = None if bias is None else bias.repeat(2 * side)
    for kernel, matrix in zip(kernels, down, strict=True):
        products = F.conv2d(maps, kernel).permute(0, 2, 3, 1)
        products = products.reshape(count * side, side * 3, outputs)
        rows = torch.bmm(across.expand(count * side, -1, -1), products)
        step = matrix.expand(count, -1, -1), rows.view(count, side, -1)
        total = torch.bmm(*step) if total is None else torch.baddbmm(total, *step)
    assert total is not None
    return total.view(count, 2 * side, 2 * side, outputs).permute(0, 3, 1, 2)


def _axis_matrices(side: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return the matrices of up-sampling followed by three taps, along one axis.

    Returns:
        (2S, S 3) from values times taps to new values, and (3, 2S, S) from values to new values for
        each tap.
    """
    upsampled = _upsampling_matrix(side, like)
    by_tap = F.pad(upsampled, (1, 1)).unfold(1, 2 * side, 1)  # value, tap, new value
    return by_tap.flatten(0, 1).T, by_tap.permute(1, 2, 0)


def _beyond_edges(
    convolve: Callable[[Tensor, Tensor, Tensor | None], Tensor],
    maps: Tensor,
    weight: Tensor,
    bias: Tensor | None,
) -> Tensor:
    """Extend maps beyond their edges, convolve them, and subtract what the extension adds.

    The extension is computed again for the gradient. The convolution is not: recomputing ends at
    its input.
    """

    def extend_and_convolve(maps: Tensor) -> Tensor:
        extended, edges = _Extended.apply(maps)
        surplus = _surplus(edges, weight)
        return _Trim.apply(convolve(extended, weight, bias), surplus)

    return checkpoint(extend_and_convolve, maps, use_reentrant=False, preserve_rng_state=False)


def _by_blurring(extended: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Use that up-sampling is the same as zeros between the values and a blur by (1 3 3 1)/4.

    The blur can follow the convolution, which then is a transposed one.
    """
    if bias is not None:
        bias = bias / 4  # the coefficients of the blur add up to 4
    kernel = weight.flip(2, 3).transpose(0, 1)
    return _Blur.apply(F.conv_transpose2d(extended, kernel, bias, stride=2, padding=1))


def _by_phases(extended: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Use a kernel on the small map for each of the 2x2 values that one value becomes."""
    two, three = (torch.arange(n, dtype=weight.dtype, device=weight.device) for n in (2, 3))
    # (new value, value before, same or next, tap): the tent of bilinear interpolation.
    distance = (two[:, None, None] + three) / 2 - three[:, None] + 0.25
    share = (1 - distance.abs()).clamp_min(0)
    with torch.autocast(weight.device.type, enabled=False):  # rounded once, by the convolution
        kernels = torch.einsum("pdk,qel,oikl->opqide", share, share, weight).flatten(0, 2)
    if bias is not None:
        bias = bias.repeat_interleave(4)
    return F.pixel_shuffle(F.conv2d(extended, kernels, bias), 2)


class _Bilinear(torch.autograd.Function):
    """Up-samples maps bilinearly. Its gradient is deterministic on GPUs, as torch's own is not.

    Each value gets the blurred gradient from where it went; beyond the edges is a copy of them.
    """

    # Under deterministic algorithms torch.nn.functional makes a dozen operations of each of these.

    @staticmethod
    def forward(ctx: Any, maps: Tensor) -> Tensor:
        size = [2 * side for side in maps.shape[2:]]
        return torch.ops.aten.upsample_bilinear2d(maps, size, False)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        extended = torch.ops.aten.replication_pad2d(gradient, (1, 1, 1, 1))
        return _blur(extended, padding=0, stride=2)


class _Extended(torch.autograd.Function):
    """Extends maps by their edges, and returns these edges (4, N, C, S) too.

    Slices of maps would each have a gradient of the maps' size, so one function does both.
    """

    @staticmethod
    def forward(ctx: Any, maps: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(maps)
        with torch.autocast(maps.device.type, enabled=False):  # it would turn padding into float32
            extended = F.pad(maps, (1, 1, 1, 1), mode="replicate")
        return extended, torch.stack(_edges(maps))

    @staticmethod
    def backward(ctx: Any, of_extended: Tensor, of_edges: Tensor) -> Tensor:
        (maps,) = ctx.saved_tensors
        gradient = torch.ops.aten.replication_pad2d_backward(of_extended, maps, (1, 1, 1, 1))
        for edge, line in zip(_edges(gradient), of_edges, strict=True):
            edge.add_(line)
        return gradient


def _surplus(edges: Tensor, weight: Tensor) -> Tensor:
    """Compute what the extension beyond the edges adds to the convolved edges, (4, N, C', 2S).

    Edges are in the order of `_edges`. The corners count with the first two.
    """
    lines = F.interpolate(edges.flatten(0, 1), scale_factor=2, mode="linear")
    rows, columns = lines.unflatten(0, (4, -1)).chunk(2)
    rows = torch.cat([rows[..., :1], rows, rows[..., -1:]], -1)
    lines = torch.cat([rows, F.pad(columns, (1, 1))])
    taps = torch.stack([weight[:, :, 0], weight[:, :, 2], weight[..., 0], weight[..., 2]])
    by_tap = torch.einsum("encx,eock->kenox", lines, taps)
    size = by_tap.shape[-1] - 2
    return by_tap[0, ..., :size] + by_tap[1, ..., 1:-1] + by_tap[2, ..., 2:]


def _edges(maps: Tensor) -> list[Tensor]:
    """Return the edges of maps as views: top, bottom, left, right."""
    return [maps[:, :, 0], maps[:, :, -1], maps[..., 0], maps[..., -1]]


class _Trim(torch.autograd.Function):
    """Subtracts the surplus from the edges in place. Slices would copy the gradient four times."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, surplus: Tensor) -> Tensor:
        ctx.mark_dirty(maps)
        for edge, line in zip(_edges(maps), surplus, strict=True):
            edge.sub_(line)
        return maps

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        return gradient, -torch.stack(_edges(gradient))


class _Blur(torch.autograd.Function):
    """Blurs each channel, and keeps no maps. A convolution would, for its kernel's gradient."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor) -> Tensor:
        return _blur(maps, padding=0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _blur(gradient, padding=3)


def _blur(maps: Tensor, padding: int, stride: int = 1) -> Tensor:
    channels = maps.shape[1]
    taps = 1 - (torch.arange(4, dtype=maps.dtype, device=maps.device) - 1.5).abs() / 2
    kernel = (taps[:, None] * taps).expand(channels, 1, 4, 4)
    return F.conv2d(maps, kernel, padding=padding, stride=stride, groups=channels)
