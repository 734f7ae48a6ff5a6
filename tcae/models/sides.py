"""Maps whose side is halved, or doubled again, level by level. Halves are rounded up."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


def halved(side: int, last: int = 1) -> list[int]:
    """Return the sides of maps from an image down to the first that is not above `last`.

    Example:
        >>> halved(112)
        [112, 56, 28, 14, 7, 4, 2, 1]
        >>> halved(48, last=4)
        [48, 24, 12, 6, 3]
    """
    sides = [side]
    while sides[-1] > last:
        sides.append((sides[-1] + 1) // 2)
    return sides


class HalvingConv2d(nn.Conv2d):
    """A 4x4 convolution of stride 2. An odd side gets a row and a column of zeros first."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__(inputs, outputs, 4, stride=2, padding=1, bias=bias)

    def forward(self, maps: Tensor) -> Tensor:
        """Map (N, C, S, S) to (N, C', S / 2, S / 2), rounded up."""
        odd = maps.shape[-1] % 2
        return super().forward(F.pad(maps, (0, odd, 0, odd)) if odd else maps)


class Crop(nn.Module):
    """Cuts off the last row and column."""

    def forward(self, maps: Tensor) -> Tensor:
        """Map (N, C, S + 1, S + 1) to (N, C, S, S)."""
        return maps[..., :-1, :-1]


def cropped(side: int) -> list[nn.Module]:
    """Return the layers that a doubled map needs to have a side. Odd sides need one."""
    return [Crop()] if side % 2 else []
