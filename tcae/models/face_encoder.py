"""The one interface of everything that turns aligned faces into embeddings."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from tcae.models.encoder import Embeddings


class FaceEncoder(Protocol):
    """Turns aligned faces into embeddings: a trained network, a descriptor, raw pixels.

    Attributes:
        image_size: Side of the images that it is shown, in pixels.
        crop: Side of the centred part of an aligned picture that it is shown, as a share.
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
        """Tells encoders apart that give other embeddings."""

    def embed(self, images: Tensor) -> Embeddings:
        """Embed aligned RGB faces (N, 3, S, S), uint8 or float in [0, 1], S = `image_size`.

        Returns:
            Embeddings (N, embedding_size) and (N, pose_size), float32.
        """
        ...
