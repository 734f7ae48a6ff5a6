"""The paper's encoder: stride-2 convolutions down to a single position."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tcae.models.batch_norm import SequentialInParts, recompute
from tcae.models.encoder_parts import EncoderParts
from tcae.models.model_config import ModelConfig
from tcae.models.sides import HalvingConv2d, halved

BRANCH_LEVELS = 3
"""Number of levels in each branch. All other levels are the backbone's."""


def plain_encoder(config: ModelConfig, image_size: int) -> EncoderParts:
    """Halve the image, rounding up, until the last level is the embedding.

    Level i has `base_filters * min(2**i, 8)` channels, batch norm and leaky ReLU. The last level is
    a bare convolution.
    """
    levels = len(halved(image_size)) - 1
    widths = [3, *(config.base_filters * min(2**level, 8) for level in range(levels - 1))]
    shared = levels - BRANCH_LEVELS

    def blocks(first: int, last: int) -> list[nn.Module]:
        return [_block(widths[i], widths[i + 1], config.conv_bias) for i in range(first, last)]

    def branch(size: int) -> SequentialInParts:
        embedding = _LastConv2d(widths[-1], size, 4, stride=2, padding=1)
        return SequentialInParts(*blocks(shared, levels - 1), embedding, nn.Flatten())

    return EncoderParts(backbone=lambda: _Backbone(*blocks(0, shared)), branch=branch)


class _Backbone(nn.Sequential):
    """The blocks before the branches, where maps are large."""

    def forward(self, *batches: Tensor) -> Tensor:
        """Apply the blocks to each batch by itself, and return the maps of all.

        If there are several, batch norms and activations are computed again for the gradient. That
        halves the memory and costs 4 % of a step.
        """
        learning = self.training and torch.is_grad_enabled()
        if torch.compiler.is_compiling() or len(batches) == 1 or not learning:
            maps = [super(_Backbone, self).forward(batch) for batch in batches]
            return torch.cat(maps) if len(maps) > 1 else maps[0]
        _, *others = self[-1].children()
        return SequentialInParts(*others)(torch.cat([*map(self._convolved, batches)]), len(batches))

    def _convolved(self, images: Tensor) -> Tensor:
        """Apply all but the batch norm and activation of the last block.

        The outputs of convolutions are kept. What is computed again ends at the input of the next
        convolution.
        """
        (convolution, *others), *blocks = ([*block.children()] for block in self)
        maps: Tensor = convolution(images)
        for convolution, *following in blocks:
            step = nn.Sequential(*others, convolution)
            maps, others = recompute(step, step, maps), following
        return maps


class _LastConv2d(nn.Conv2d):
    """A convolution from 2x2 maps to 1x1. The rim of its 4x4 kernel sees only padding zeros."""

    def forward(self, maps: Tensor) -> Tensor:
        return F.conv2d(maps, self.weight[:, :, 1:3, 1:3], self.bias)


def _block(inputs: int, outputs: int, conv_bias: bool) -> SequentialInParts:
    return SequentialInParts(
        HalvingConv2d(inputs, outputs, conv_bias),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(0.2, inplace=True),
    )
