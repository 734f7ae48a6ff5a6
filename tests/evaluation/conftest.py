from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from tcae.data.align import DEFAULT_TEMPLATE
from tcae.models.encoder import Embeddings


@dataclass
class ColourEncoder:
    """The AU embedding is the mean colour of a picture, the pose embedding its first pixel."""

    image_size: int = 32
    template: dict[str, Any] = field(default_factory=DEFAULT_TEMPLATE.to_dict)
    crop: float = 1.0
    embedding_size: int = 3
    pose_size: int = 3
    fingerprint: str = "colour"
    batches: list[int] = field(default_factory=list)

    def embed(self, images: Tensor) -> Embeddings:
        assert images.dtype == torch.uint8
        assert images.shape[1:] == (3, self.image_size, self.image_size)
        self.batches.append(len(images))
        pixels = images.float() / 255
        return Embeddings(pixels.mean((2, 3)), pixels[:, :, 0, 0])


@pytest.fixture
def encoder() -> ColourEncoder:
    return ColourEncoder()
