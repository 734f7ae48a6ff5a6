"""A `FaceEncoder` from any function that turns faces into vectors."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from tcae.models.encoder import Embeddings


class FeatureExtractor(Protocol):
    """Something that turns faces into feature vectors."""

    def embed(self, images: Tensor) -> Tensor:
        """Compute features (N, D), float32, of faces (N, 3, S, S), uint8 or float in [0, 1]."""


class FeatureEncoder:
    """An encoder with the features of an extractor as AU embedding and no pose embedding.

    Args:
        extractor: The extractor. If it is a network, it is put into evaluation mode.
        fingerprint: A text that differs between extractors with different features.
        image_size: Side of its images in pixels.
        crop: How much of an aligned picture to show it: side of the centred square over the side of
            the picture.
        template: Alignment template of the faces.
    """

    def __init__(
        self,
        extractor: FeatureExtractor,
        *,
        fingerprint: str,
        image_size: int,
        crop: float,
        template: dict[str, Any],
    ) -> None:
        self.extractor = extractor.eval() if isinstance(extractor, nn.Module) else extractor
        self.fingerprint = fingerprint
        self.image_size, self.crop, self.template = image_size, crop, template
        blank = torch.zeros(1, 3, image_size, image_size, dtype=torch.uint8)
        self.embedding_size, self.pose_size = self.embed(blank).au.shape[1], 0

    @torch.no_grad()
    def embed(self, images: Tensor) -> Embeddings:
        """Compute the features of faces; see `FaceEncoder.embed`."""
        if isinstance(self.extractor, nn.Module):
            images = images.to(next(self.extractor.parameters()).device)
        features = self.extractor.embed(images).float()
        return Embeddings(features, features[:, :0])
