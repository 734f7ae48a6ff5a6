"""The encoder: one image to an AU embedding and a pose embedding (Fig. 3, top)."""

from __future__ import annotations

from torch import Tensor, nn

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

        def branch(size: int) -> nn.Sequential:
            embedding = nn.Conv2d(widths[-1], size, 4, stride=2, padding=1)
            return nn.Sequential(*blocks(shared, levels - 1), embedding, nn.Flatten())

        self.backbone = nn.Sequential(*blocks(0, shared))
        self.pose_backbone = nn.Sequential(*blocks(0, shared)) if separate else None
        self.au_branch = branch(au_size)
        self.pose_branch = branch(pose_size)
        self.decorrelation = Decorrelation(au_size, pose_size) if decorrelate else None

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Embed images (N, 3, S, S) in [0, 1]: phi (AU), not yet cleaned, and psi (pose)."""
        features = self.backbone(images)
        of_pose = features if self.pose_backbone is None else self.pose_backbone(images)
        return self.au_branch(features), self.pose_branch(of_pose)


def _block(inputs: int, outputs: int, conv_bias: bool) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=conv_bias),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(0.2, inplace=True),
    )
