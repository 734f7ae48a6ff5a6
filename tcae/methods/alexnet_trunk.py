"""The convolutions of AlexNet at any width, which SplitBrain and the AlexNet baseline share."""

from __future__ import annotations

from torch import Tensor, nn

_WIDTHS = (96, 256, 384, 384, 256)


class AlexNetTrunk(nn.Module):
    """Five convolutions of AlexNet (Krizhevsky et al. 2012), each with batch norm and ReLU.

    Batch norm takes the place of the original's normalisation over neighbouring channels. The last
    pooling is left out, because what follows needs the map.

    Args:
        channels: Channels of the input.
        width: Factor on the channels 96, 256, 384, 384, 256 of the layers.

    Attributes:
        widths: Channels of the five layers.
    """

    def __init__(self, channels: int, width: float) -> None:
        super().__init__()
        self.widths = tuple(int(width * count) for count in _WIDTHS)
        one, two, three, four, five = self.widths
        pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.to_conv3 = nn.Sequential(
            *_layer(channels, one, 11, stride=4),
            pool,
            *_layer(one, two, 5),
            pool,
            *_layer(two, three, 3),
        )
        self.to_conv5 = nn.Sequential(*_layer(three, four, 3), *_layer(four, five, 3))

    def conv3(self, images: Tensor) -> Tensor:
        """Compute the third map, (N, 384 width, S/16, S/16), of images (N, channels, S, S)."""
        features: Tensor = self.to_conv3(images)
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Compute the last map, (N, 256 width, S/16, S/16), of images (N, channels, S, S)."""
        features: Tensor = self.to_conv5(self.conv3(images))
        return features


def _layer(inputs: int, outputs: int, side: int, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, side, stride, padding=side // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    ]
