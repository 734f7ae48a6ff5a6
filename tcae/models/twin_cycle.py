"""The twin-cycle autoencoder: an encoder, and a motion decoder each for AUs and head pose."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from tcae.models.decoder import Decoder
from tcae.models.encoder import Encoder
from tcae.models.rigid_decoder import RigidDecoder


class Motion(NamedTuple):
    """A decoded motion, two views of one tensor.

    Attributes:
        flow: (N, 2, S, S) displacement x, y in normalised units.
        logit: (N, 1, S, S) logit of the blending mask.
    """

    flow: Tensor
    logit: Tensor


class TwinCycle(nn.Module):
    """Encoder E and decoders D_A, D_p of the paper (sections 3.1, 4.1).

    Args:
        encoder: The encoder of the faces. The model has its configuration and image size.

    Example:
        >>> from tcae.models.model_config import MODEL_PRESETS
        >>> model = TwinCycle(Encoder(MODEL_PRESETS["official"], image_size=256))
        >>> sum(p.numel() for p in model.parameters())
        14717094
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.config, self.image_size = encoder.config, encoder.image_size
        self.au_decoder = self._free_decoder(encoder.embedding_size)
        self.pose_decoder = (
            RigidDecoder(self.image_size, encoder.pose_size)
            if self.config.pose_motion == "rigid"
            else self._free_decoder(encoder.pose_size)
        )

    def passes(self) -> list[nn.Module]:
        """List the modules that do nearly all of the work; see `Encoder.passes`."""
        return [*self.encoder.passes(), self.au_decoder, self.pose_decoder]

    def au_motion(self, source: Tensor, target: Tensor) -> Motion:
        """Decode T^A, the motion that gives the source the target's AUs, from AU embeddings."""
        if self.config.branches == "pose":
            return self._stillness(source)
        return _motion(self.au_decoder(source, target))

    def pose_motion(self, source: Tensor, target: Tensor) -> Motion:
        """Decode T^p, the motion that gives the source the target's pose, from pose embeddings."""
        if self.config.branches == "au":
            return self._stillness(source)
        return _motion(self.pose_decoder(source, target))

    def _stillness(self, embeddings: Tensor) -> Motion:
        """Return no motion, for embeddings (N, D)."""
        return _motion(
            embeddings.new_zeros(1).expand(len(embeddings), 3, self.image_size, self.image_size)
        )

    def _free_decoder(self, embedding_size: int) -> Decoder:
        config = self.config
        return Decoder(
            image_size=self.image_size,
            base_filters=config.base_filters,
            embedding_size=embedding_size,
            conv_bias=config.conv_bias,
            start=config.decoder_start,
            leading_relu=config.leading_relu,
            zero_init=config.zero_init,
        )


def _motion(decoded: Tensor) -> Motion:
    return Motion(decoded[:, :2], decoded[:, 2:])
