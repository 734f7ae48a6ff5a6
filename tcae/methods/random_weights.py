"""The twin cycle's encoder before it has learned anything."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tcae.methods.method import Method
from tcae.models.batch_norm import settle_batch_norm
from tcae.models.encoder import Encoder
from tcae.models.model_config import MODEL_PRESETS


class RandomWeights(nn.Module):
    """An encoder of the preset `default` with random weights, the same ones every time.

    Args:
        image_size: side of the images, a power of two from 32.
    """

    def __init__(self, image_size: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.encoder = Encoder(MODEL_PRESETS["default"], image_size)

    def settle(self, images: Tensor) -> None:
        """Show it the images (N, 3, S, S) whose statistics its batch norms are to know."""
        settle_batch_norm(self, self.encoder, images)

    def embed(self, images: Tensor) -> Tensor:
        """AU embeddings (N, D) of images (N, 3, S, S), uint8 or in [0, 1]."""
        return self.encoder(images).au


RANDOM_WEIGHTS = Method(
    name="random_weights",
    title="random weights",
    family="descriptor",
    build=lambda image_size, units: RandomWeights(image_size),
)
