"""LBP: histograms of local binary patterns (Ahonen et al., PAMI 2006), from scikit-image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tcae.methods.images import each_grey, skimage_feature
from tcae.methods.method import Method

_NEIGHBOURS = 8
_PATTERNS = _NEIGHBOURS * (_NEIGHBOURS - 1) + 3  # uniform ones, and one for all others


@dataclass(frozen=True)
class Lbp:
    """Shares of the 59 uniform patterns in each cell of a grid."""

    cells: int = 7
    """Number of cells along a side of the face."""
    radius: int = 1
    """Distance of a pixel's 8 neighbours in pixels."""

    def embed(self, images: Tensor) -> Tensor:
        """Compute features (N, 7 * 7 * 59) of images (N, 3, S, S), uint8 or in [0, 1]."""
        feature = skimage_feature()
        size = images.shape[-1]
        row = np.arange(size) * self.cells // size
        cell = row[:, None] * self.cells + row
        length = self.cells**2 * _PATTERNS
        pixels = np.bincount(cell.ravel())[:, None]
        features = np.empty((len(images), length), np.float32)
        for shares, grey in zip(features, each_grey(images), strict=True):
            levels = np.round(grey * 255).astype(np.uint8)
            pattern = feature.local_binary_pattern(
                levels, _NEIGHBOURS, self.radius, method="nri_uniform"
            ).astype(np.int64)
            counts = np.bincount((cell * _PATTERNS + pattern).ravel(), minlength=length)
            shares[:] = (counts.reshape(-1, _PATTERNS) / pixels).ravel()
        return torch.from_numpy(features)


LBP = Method("lbp", "LBP", "descriptor", lambda material: material.encoder(Lbp()))
