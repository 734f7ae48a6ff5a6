"""A compact residual network, trained end to end on action units (He et al., CVPR 2016)."""

from __future__ import annotations

from torch import Tensor, nn

from tcae.methods.training import supervised
from tcae.models.encoder import unit_range
from tcae.models.model_config import check_image_size


class ResNet(nn.Module):
    """Stem, stages of residual blocks, global mean, logits.

    The defaults are a ResNet-18 of half the width. (The paper's row for GFT is a ResNet-50.) The
    stem halves the side once, not twice like the original's, because faces of 64 pixels are small.

    Args:
        image_size: Side of the images in pixels, a multiple of 16 from 32.
        units: Number of action units.
        base_filters: Channels of the first stage. Each further stage has twice as many.
        blocks: Number of blocks in each stage.
    """

    def __init__(
        self,
        image_size: int,
        units: int,
        base_filters: int = 32,
        blocks: tuple[int, ...] = (2, 2, 2, 2),
    ) -> None:
        super().__init__()
        check_image_size(image_size)
        width = base_filters
        layers: list[nn.Module] = [*_normed(3, width, 7, stride=2), nn.ReLU(inplace=True)]
        for stage, count in enumerate(blocks):
            for block in range(count):
                outputs = base_filters * 2**stage
                layers.append(_Block(width, outputs, 2 if stage and not block else 1))
                width = outputs
        self.features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.logits = nn.Linear(width, units)

    def embed(self, images: Tensor) -> Tensor:
        """Compute the global means (N, 256) of images (N, 3, S, S), uint8 or in [0, 1]."""
        features: Tensor = self.features(2 * unit_range(images) - 1)
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits (N, A) of images (N, 3, S, S), uint8 or in [0, 1]."""
        logits: Tensor = self.logits(self.embed(images))
        return logits


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.change = nn.Sequential(
            *_normed(inputs, outputs, 3, stride),
            nn.ReLU(inplace=True),
            *_normed(outputs, outputs, 3),
        )
        same = inputs == outputs and stride == 1
        self.keep = nn.Sequential(*([] if same else _normed(inputs, outputs, 1, stride)))

    def forward(self, features: Tensor) -> Tensor:
        """Map features (N, C, H, W) to (N, C', H / stride, W / stride)."""
        return (self.keep(features) + self.change(features)).relu()


def _normed(inputs: int, outputs: int, side: int, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, side, stride, padding=side // 2, bias=False),
        nn.BatchNorm2d(outputs),
    ]


RESNET = supervised("resnet", "ResNet", ResNet)
