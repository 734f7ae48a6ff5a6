"""DRML: deep region and multi-label learning (Zhao, Chu, Zhang, CVPR 2016)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from tcae.methods.training import supervised
from tcae.models.encoder import unit_range
from tcae.models.model_config import check_image_size

_SIDE = 170  # of the original's images
_REGIONS = 8  # along a side of the map


class RegionLayer(nn.Module):
    """A grid of 8x8 regions of the face, each with a 3x3 convolution of its own.

    Every region passes batch norm, ReLU and convolution. Its input is added to the result, so a
    region that has nothing to add is passed on.

    Args:
        channels: Channels of the map, before and after.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        count = _REGIONS**2
        self.local = nn.Sequential(
            nn.BatchNorm2d(count * channels),
            nn.ReLU(),
            nn.Conv2d(count * channels, count * channels, 3, padding=1, groups=count),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map features (N, C, H, W) to the same shape. H and W are multiples of 8."""
        n, channels, height, width = features.shape
        tall, wide = height // _REGIONS, width // _REGIONS
        grid = features.view(n, channels, _REGIONS, tall, _REGIONS, wide)
        regions = grid.permute(0, 2, 4, 1, 3, 5).reshape(n, -1, tall, wide)
        regions = regions + self.local(regions)
        grid = regions.view(n, _REGIONS, _REGIONS, channels, tall, wide)
        return grid.permute(0, 3, 1, 4, 2, 5).reshape(features.shape)


class Drml(nn.Module):
    """Convolution, region layer, four convolutions, two fully connected layers, logits.

    The original is for 170x170 images. Larger images are resized to that. Smaller ones keep their
    size, and the first convolution then keeps it too, so that regions divide the map evenly. The
    defaults are the published architecture.

    Args:
        image_size: Side of the images in pixels, a multiple of 16 from 64.
        units: Number of action units.
        filters: Channels of the first convolution and of the region layer.
        later_filters: Channels of the convolutions after them.
        hidden: Units of the two fully connected layers.
    """

    def __init__(
        self,
        image_size: int,
        units: int,
        filters: int = 32,
        later_filters: int = 16,
        hidden: tuple[int, int] = (4096, 2048),
    ) -> None:
        super().__init__()
        check_image_size(image_size)
        if image_size < 64:
            raise ValueError(f"image_size is {image_size}, DRML needs 64 or more")
        self.side = min(image_size, _SIDE)
        wide, narrow = filters, later_filters
        self.convolutions = nn.Sequential(
            nn.Conv2d(3, wide, 11, padding=0 if self.side == _SIDE else 5),
            nn.ReLU(),
            RegionLayer(wide),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.BatchNorm2d(wide),
            nn.Conv2d(wide, narrow, 8),
            nn.ReLU(),
            nn.Conv2d(narrow, narrow, 8),
            nn.ReLU(),
            nn.Conv2d(narrow, narrow, 6, stride=2),
            nn.ReLU(),
            nn.Conv2d(narrow, narrow, 5),
            nn.ReLU(),
            nn.Flatten(),
        )
        with torch.no_grad():
            inputs = self.convolutions(torch.zeros(1, 3, self.side, self.side)).shape[1]
        first, second = hidden
        self.hidden = nn.Sequential(
            nn.Linear(inputs, first), nn.ReLU(), nn.Dropout(), nn.Linear(first, second), nn.ReLU()
        )
        self.logits = nn.Sequential(nn.Dropout(), nn.Linear(second, units))

    def embed(self, images: Tensor) -> Tensor:
        """Compute the last hidden layer (N, 2048) of images (N, 3, S, S), uint8 or in [0, 1]."""
        images = unit_range(images) - 0.5
        if images.shape[-1] != self.side:
            images = interpolate(images, (self.side, self.side), mode="area")
        features: Tensor = self.hidden(self.convolutions(images))
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits (N, A) of images (N, 3, S, S), uint8 or in [0, 1]."""
        logits: Tensor = self.logits(self.embed(images))
        return logits


DRML = supervised("drml", "DRML", Drml)
