"""An encoder with residual blocks. It costs as much as the plain one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tcae.models.batch_norm import SequentialInParts
from tcae.models.encoder_parts import EncoderParts
from tcae.models.model_config import ModelConfig
from tcae.models.sides import HalvingConv2d, halved

_BRANCH_START = 8  # largest side of the map where the branches begin
_LAST = 4  # largest side of the last map


def residual_encoder(config: ModelConfig, image_size: int) -> EncoderParts:
    """Halve the image down to 4x4 or 3x3, and compute each embedding from all positions of it.

    Level i has `base_filters * min(2**i, 8)` channels. The first two levels are single
    convolutions, all others are residual blocks. The last layer is linear in all positions, not in
    their mean, because pose and action depend on where things are.
    """
    *halvings, last = halved(image_size, _LAST)
    levels, shared = len(halvings), len(halved(image_size, _BRANCH_START)) - 1
    widths = [3, *(config.base_filters * min(2**level, 8) for level in range(levels))]
    kinds = [_ConvBlock if level < 2 else _ResidualBlock for level in range(levels)]

    def blocks(first: int, last: int) -> list[nn.Module]:
        bias = config.conv_bias
        return [kinds[i](widths[i], widths[i + 1], bias) for i in range(first, last)]

    def branch(size: int) -> SequentialInParts:
        linear = nn.Linear(widths[-1] * last * last, size)
        return SequentialInParts(*blocks(shared, levels), nn.Flatten(), linear)

    return EncoderParts(backbone=lambda: _Backbone(*blocks(0, shared)), branch=branch)


class _Backbone(nn.Sequential):
    """The levels before the branches."""

    def forward(self, *batches: Tensor) -> Tensor:
        return SequentialInParts(*self)(torch.cat(batches), len(batches))


class _ConvBlock(SequentialInParts):
    """A convolution that halves the side."""

    def __init__(self, inputs: int, outputs: int, bias: bool) -> None:
        super().__init__(
            HalvingConv2d(inputs, outputs, bias),
            nn.BatchNorm2d(outputs),
            _activation(),
        )


class _ResidualBlock(SequentialInParts):
    """Two convolutions that halve the side, and a skip connection by means of 2x2 positions."""

    def __init__(self, inputs: int, outputs: int, bias: bool) -> None:
        residual = SequentialInParts(
            nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=bias),
            nn.BatchNorm2d(outputs),
            _activation(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=bias),
            nn.BatchNorm2d(outputs),
        )
        # No bias here: the residual's last batch norm has one for both.
        skip = nn.Sequential(
            nn.AvgPool2d(2, ceil_mode=True), nn.Conv2d(inputs, outputs, 1, bias=False)
        )
        super().__init__(residual, skip, _activation())

    def forward(self, maps: Tensor, parts: int = 1) -> Tensor:
        residual, skip, activation = self
        outputs: Tensor = activation(residual(maps, parts) + skip(maps))
        return outputs


def _activation() -> nn.Module:
    return nn.LeakyReLU(0.2, inplace=True)
