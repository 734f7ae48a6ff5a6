"""AlexNet, trained end to end on action units, as in Chu et al. (FG 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tcae.methods.alexnet_trunk import AlexNetTrunk
from tcae.methods.training import supervised
from tcae.models.encoder import unit_range
from tcae.models.model_config import check_image_size


class _AveragePool(nn.Module):
    """The same as `nn.AdaptiveAvgPool2d`, whose gradient is not deterministic on a GPU."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, maps: Tensor) -> Tensor:
        """Average maps (N, C, S, S) to (N, C, side, side)."""
        one = torch.eye(maps.shape[-1], dtype=maps.dtype, device=maps.device)
        shares = nn.functional.adaptive_avg_pool1d(one, self.side)  # (S, side)
        pooled: Tensor = shares.T @ maps @ shares
        return pooled


class AlexNet(nn.Module):
    """AlexNet's convolutions, two fully connected layers, logits.

    The last map is averaged down to 6x6, its size for the original's images, if it is larger.

    Args:
        image_size: Side of the images in pixels, a multiple of 16 from 32.
        units: Number of action units.
        hidden: Units of the fully connected layers.
    """

    def __init__(self, image_size: int, units: int, hidden: int = 4096) -> None:
        super().__init__()
        check_image_size(image_size)
        side = min(image_size // 16, 6)
        self.trunk = AlexNetTrunk(3, 1.0)
        self.hidden = nn.Sequential(
            _AveragePool(side),
            nn.Flatten(),
            nn.Dropout(),
            nn.Linear(self.trunk.widths[-1] * side * side, hidden),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
        )
        self.logits = nn.Linear(hidden, units)

    def embed(self, images: Tensor) -> Tensor:
        """Compute the last hidden layer (N, 4096) of images (N, 3, S, S), uint8 or in [0, 1]."""
        features: Tensor = self.hidden(self.trunk(2 * unit_range(images) - 1))
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits (N, A) of images (N, 3, S, S), uint8 or in [0, 1]."""
        logits: Tensor = self.logits(self.embed(images))
        return logits


ALEXNET = supervised("alexnet", "AlexNet", AlexNet)
