"""The one interface of everything that embeds aligned faces."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from tcae.models.encoder import Embeddings


class FaceEncoder(Protocol):
    """Something that turns aligned faces into embeddings: a network, a descriptor, raw pixels.

    Attributes:
        image_size: Side of its images in pixels.
        crop: How much of an aligned picture to show it: side of the centred square over the side of
            the picture.
        template: Alignment template of the faces, as `AlignmentTemplate.to_dict` gives it.
        embedding_size: Length of the AU embedding.
        pose_size: Length of the pose embedding; 0 if there is none.
    """

    image_size: int
    crop: float
    template: dict[str, Any]
    embedding_size: int
    pose_size: int

    @property
    def fingerprint(self) -> str:
        """Return a text that differs between encoders with different embeddings."""

    def embed(self, images: Tensor) -> Embeddings:
        """Embed aligned RGB faces (N, 3, S, S), uint8 or float in [0, 1], S = `image_size`.

        Returns:
            Embeddings (N, embedding_size) and (N, pose_size), float32.
        """
        ...
