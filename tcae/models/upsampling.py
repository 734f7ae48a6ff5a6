"""Bilinear x2 up-sampling and the 3x3 convolution after it, in one.

Up-sampling is the same as putting zeros between the values and blurring along both axes with
(1 3 3 1)/4. The blur treats all channels alike, so it can as well follow the convolution. What is
left to convolve is mostly zeros: a transposed convolution, with a quarter of the multiplications.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

_FEW = 8  # channels: four times as many take a convolution no longer
_SMALL = 16  # side below which the edges cost more than is saved


def upsampled_conv(maps: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Up-sample square maps bilinearly, then convolve them with zeros around.

    `conv2d(interpolate(maps, scale_factor=2, mode="bilinear"), weight, bias, padding=1)` but for
    rounding. Unless maps are small,
    none of its size is made before the convolution; none is kept for the gradient.

    Args:
        maps: (N, C, S, S).
        weight: (C', C, 3, 3).
        bias: (C',) or None.

    Returns:
        (N, C', 2S, 2S).
    """
    few = len(weight) <= _FEW
    if maps.shape[-1] < _SMALL and not few:
        return _enlarged_again(lambda maps: F.conv2d(_doubled(maps), weight, bias, padding=1), maps)
    surplus = _surplus(maps, weight)  # first: who recomputes it can stop before the convolution
    convolve = _by_phases if few else _by_blurring
    return _Trim.apply(convolve(maps, weight, bias), surplus)


def _doubled(maps: Tensor) -> Tensor:
    return F.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)


def _by_blurring(maps: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if bias is not None:
        bias = bias / 4  # the coefficients of the blur add up to 4
    kernel = weight.flip(2, 3).transpose(0, 1)

    def spread(maps: Tensor) -> Tensor:
        return F.conv_transpose2d(_extended(maps), kernel, bias, stride=2, padding=1)

    return _Blur.apply(_enlarged_again(spread, maps))


def _by_phases(maps: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Each of the 2x2 values that come from one has a kernel of its own for the small map."""
    two, three = (torch.arange(n, dtype=weight.dtype, device=weight.device) for n in (2, 3))
    # (value made, value before, same or next, tap): the tent of bilinear interpolation.
    distance = (two[:, None, None] + three) / 2 - three[:, None] + 0.25
    share = (1 - distance.abs()).clamp_min(0)
    with torch.autocast(weight.device.type, enabled=False):  # rounded once, by the convolution
        kernels = torch.einsum("pdk,qel,oikl->opqide", share, share, weight).flatten(0, 2)
    if bias is not None:
        bias = bias.repeat_interleave(4)
    values = _enlarged_again(lambda maps: F.conv2d(_extended(maps), kernels, bias), maps)
    return F.pixel_shuffle(values, 2)


def _enlarged_again(convolve: Callable[[Tensor], Tensor], maps: Tensor) -> Tensor:
    """Convolve what is made of maps; that is made again for the gradient, the convolution not.

    (Recomputing stops at what the convolution would have kept: its input.)
    """
    return checkpoint(convolve, maps, use_reentrant=False, preserve_rng_state=False)


def _extended(maps: Tensor) -> Tensor:
    return F.pad(maps, (1, 1, 1, 1), mode="replicate")


def _surplus(maps: Tensor, weight: Tensor) -> Tensor:
    """What the edges get from up-sampled maps that go on beyond them; (4, N, C', 2S).

    Edges as in `_edges`; the corners are counted with the first two.
    """
    lines = torch.stack(_edges(maps)).flatten(0, 1)
    lines = F.interpolate(lines, scale_factor=2, mode="linear")
    rows, columns = lines.unflatten(0, (4, -1)).chunk(2)
    rows = torch.cat([rows[..., :1], rows, rows[..., -1:]], -1)
    lines = torch.cat([rows, F.pad(columns, (1, 1))])
    taps = torch.stack([weight[:, :, 0], weight[:, :, 2], weight[..., 0], weight[..., 2]])
    by_tap = torch.einsum("encx,eock->kenox", lines, taps)
    size = by_tap.shape[-1] - 2
    return by_tap[0, ..., :size] + by_tap[1, ..., 1:-1] + by_tap[2, ..., 2:]


def _edges(maps: Tensor) -> list[Tensor]:
    """Top, bottom, left, right."""
    return [maps[:, :, 0], maps[:, :, -1], maps[..., 0], maps[..., -1]]


class _Trim(torch.autograd.Function):
    """Takes the surplus off the edges, in place: four slices would be four copies of a gradient."""

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
    """Blurs each channel. A convolution would keep the maps for the gradient of the kernel."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor) -> Tensor:
        return _blurred(maps, padding=0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _blurred(gradient, padding=3)


def _blurred(maps: Tensor, padding: int) -> Tensor:
    channels = maps.shape[1]
    taps = 1 - (torch.arange(4, dtype=maps.dtype, device=maps.device) - 1.5).abs() / 2
    kernel = (taps[:, None] * taps).expand(channels, 1, 4, 4)
    return F.conv2d(maps, kernel, padding=padding, groups=channels)
