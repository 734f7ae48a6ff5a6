"""HOG: histograms of oriented gradients (Dalal, Triggs, CVPR 2005), computed by scikit-image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tcae.methods.images import each_grey, skimage_feature
from tcae.methods.method import Method


@dataclass(frozen=True)
class Hog:
    """Histograms of gradients in a grid of cells, normalised in blocks of 2x2 cells."""

    cells: int = 8
    """Number of cells along a side of the face."""
    orientations: int = 8
    """Number of directions in a histogram. Opposite directions count as one."""

    def embed(self, images: Tensor) -> Tensor:
        """Compute features (N, 4 * 7 * 7 * 8) of images (N, 3, S, S), uint8 or in [0, 1]."""
        feature = skimage_feature()
        side = images.shape[-1] // self.cells
        rows = [
            feature.hog(
                grey,
                orientations=self.orientations,
                pixels_per_cell=(side, side),
                cells_per_block=(2, 2),
                block_norm="L2-Hys",
            )
            for grey in each_grey(images)
        ]
        return torch.from_numpy(np.stack(rows).astype(np.float32))


HOG = Method("hog", "HOG", "descriptor", lambda material: material.encoder(Hog()))
