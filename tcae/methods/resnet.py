"""A compact residual network, trained end to end on action units (He et al., CVPR 2016)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from tcae.methods.training import supervised
from tcae.models.encoder import unit_range
from tcae.models.model_config import check_image_size


@dataclass(frozen=True)
class ResNetConfig:
    """The plan of ResNet-18 at half its width; the paper's GFT row is a ResNet-50."""

    base_filters: int = 32
    """Channels of the first stage; each further stage has twice as many."""
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    """Blocks of each stage."""


class ResNet(nn.Module):
    """Stem, stages of residual blocks, global mean, logits.

    The stem halves the side once (the original: twice), as faces of 64 pixels are small.

    Args:
        config: the architecture.
        image_size: side of the images, a power of two from 32.
        units: number of action units.
    """

    def __init__(self, config: ResNetConfig, image_size: int, units: int) -> None:
        super().__init__()
        check_image_size(image_size)
        width = config.base_filters
        layers: list[nn.Module] = [*_normed(3, width, 7, stride=2), nn.ReLU(inplace=True)]
        for stage, blocks in enumerate(config.blocks):
            for block in range(blocks):
                outputs = config.base_filters * 2**stage
                layers.append(_Block(width, outputs, 2 if stage and not block else 1))
                width = outputs
        self.features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.logits = nn.Linear(width, units)

    def embed(self, images: Tensor) -> Tensor:
        """Global means (N, 256) of images (N, 3, S, S), uint8 or in [0, 1]."""
        features: Tensor = self.features(2 * unit_range(images) - 1)
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, A)."""
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
        """Map (N, C, H, W) to (N, C', H / stride, W / stride)."""
        return (self.keep(features) + self.change(features)).relu()


def _normed(inputs: int, outputs: int, side: int, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, side, stride, padding=side // 2, bias=False),
        nn.BatchNorm2d(outputs),
    ]


RESNET = supervised(
    "resnet", "ResNet", lambda image_size, units: ResNet(ResNetConfig(), image_size, units)
)
