"""Raw pixels, which every method should beat."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import interpolate

from tcae.methods.feature_encoder import FeatureEncoder
from tcae.methods.method import Material, Method
from tcae.models.encoder import unit_range


@dataclass(frozen=True)
class Pixels:
    """The pixels of a small copy of the face."""

    side: int = 16
    """Side of the copy in pixels."""

    def embed(self, images: Tensor) -> Tensor:
        """Return the pixels (N, 3 * 16 * 16) of shrunk images (N, 3, S, S), uint8 or in [0, 1]."""
        return interpolate(unit_range(images), (self.side, self.side), mode="area").flatten(1)


def _make(material: Material) -> FeatureEncoder:
    pixels = Pixels()
    return material.encoder(pixels, image_size=pixels.side)


PIXELS = Method("pixels", "raw pixels", "descriptor", _make)
