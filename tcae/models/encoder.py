"""The encoder: one image to an AU embedding and a pose embedding (Fig. 3, top)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tcae.models.batch_norm import Parted, recomputed
from tcae.models.decorrelation import Decorrelation

BRANCH_LEVELS = 3
"""Levels that the AU and the pose branch have each for themselves; the others are shared."""


class Encoder(nn.Module):
    """Shared backbone and two branches of stride-2 convolutions, down to a single position.

    Level i of log2(image_size) has `base_filters * min(2**i, 8)` channels; the last one of each
    branch is the bare embedding.

    Args:
        image_size: side of the square images, a power of two from 32.
        base_filters: channels of the first level.
        au_size: channels of the AU embedding.
        pose_size: channels of the pose embedding.
        conv_bias: whether convolutions in front of a batch norm have a bias.
        decorrelate: whether there is a `decorrelation`, which cleans the AU embedding of what the
            pose embedding tells linearly.
        separate: whether each branch has a backbone of its own.
    """

    def __init__(
        self,
        image_size: int,
        base_filters: int,
        au_size: int,
        pose_size: int,
        conv_bias: bool,
        decorrelate: bool,
        separate: bool,
    ) -> None:
        super().__init__()
        levels = image_size.bit_length() - 1
        widths = [3, *(base_filters * min(2**level, 8) for level in range(levels - 1))]
        shared = levels - BRANCH_LEVELS

        def blocks(first: int, last: int) -> list[nn.Module]:
            return [_block(widths[i], widths[i + 1], conv_bias) for i in range(first, last)]

        def branch(size: int) -> Parted:
            embedding = _LastConv2d(widths[-1], size, 4, stride=2, padding=1)
            return Parted(*blocks(shared, levels - 1), embedding, nn.Flatten())

        self.backbone = _Backbone(*blocks(0, shared))
        self.pose_backbone = _Backbone(*blocks(0, shared)) if separate else None
        self.au_branch = branch(au_size)
        self.pose_branch = branch(pose_size)
        self.decorrelation = Decorrelation(au_size, pose_size) if decorrelate else None

    def forward(self, *images: Tensor) -> tuple[Tensor, Tensor]:
        """Embed images (N, 3, S, S) in [0, 1]: phi (AU), not yet cleaned, and psi (pose).

        Several batches of one size give the rows of all; in training each has statistics of its
        own. Small maps, whose weights weigh more than they, pass together; large ones do not, and
        less of them is kept.
        """
        features = self.backbone(*images)
        of_pose = features if self.pose_backbone is None else self.pose_backbone(*images)
        parts = len(images)
        return self.au_branch(features, parts), self.pose_branch(of_pose, parts)


class _Backbone(nn.Sequential):
    """Blocks for large maps."""

    def forward(self, *batches: Tensor) -> Tensor:
        """Pass each batch for itself; the maps of all.

        Of several, batch norms and activations are computed again for the gradient. That takes half
        of the memory and 4 % of a step.
        """
        learning = self.training and torch.is_grad_enabled()
        if torch.compiler.is_compiling() or len(batches) == 1 or not learning:
            maps = [super(_Backbone, self).forward(batch) for batch in batches]
            return torch.cat(maps) if len(maps) > 1 else maps[0]
        _, *others = self[-1].children()
        return Parted(*others)(torch.cat([*map(self._convolved, batches)]), len(batches))

    def _convolved(self, images: Tensor) -> Tensor:
        """All but the last block's batch norm and activation.

        What convolutions make is kept, and recomputing stops at the next one's input.
        """
        (convolution, *others), *blocks = ([*block.children()] for block in self)
        maps: Tensor = convolution(images)
        for convolution, *after in blocks:
            step = nn.Sequential(*others, convolution)
            maps, others = recomputed(step, step, maps), after
        return maps


class _LastConv2d(nn.Conv2d):
    """A convolution of 2x2 maps to points: the rim of its 4x4 kernel meets the zeros around."""

    def forward(self, maps: Tensor) -> Tensor:
        return F.conv2d(maps, self.weight[:, :, 1:3, 1:3], self.bias)


def _block(inputs: int, outputs: int, conv_bias: bool) -> Parted:
    return Parted(
        nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=conv_bias),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(0.2, inplace=True),
    )
