"""The encoder: from the pixels of a face to an AU and a pose embedding (Fig. 3, top)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from tcae.models.batch_norm import apply_in_parts
from tcae.models.decorrelation import Decorrelation
from tcae.models.encoders import ENCODERS
from tcae.models.model_config import ModelConfig, check_image_size


class Embeddings(NamedTuple):
    """The embeddings of N images, one row per image: `au` is phi, `pose` is psi."""

    au: Tensor
    pose: Tensor


class Encoder(nn.Module):
    """Everything from pixels to the two embeddings, decorrelation included.

    A backbone turns the images into maps, and one branch for each embedding turns the maps into it.
    `config.encoder` names the networks of both (`tcae.models.encoders`).

    Args:
        config: The architecture.
        image_size: Side of the square images in pixels, a multiple of 16 from 32. It sets the
            number of levels and nothing else.

    Attributes:
        embedding_size: Length of the AU embedding.
        pose_size: Length of the pose embedding.

    Raises:
        ValueError: The image size is not a multiple of 16 from 32, or the encoder is unknown.

    Example:
        >>> encoder = Encoder(ModelConfig(), image_size=64).eval()
        >>> au, pose = encoder(torch.rand(10, 3, 64, 64))
        >>> tuple(au.shape), tuple(pose.shape)
        ((10, 128), (10, 16))
    """

    def __init__(self, config: ModelConfig, image_size: int) -> None:
        super().__init__()
        check_image_size(image_size)
        if config.encoder not in ENCODERS:
            raise ValueError(
                f"encoder is {config.encoder!r}, it must be one of {', '.join(ENCODERS)}"
            )
        self.config, self.image_size = config, image_size
        self.embedding_size, self.pose_size = config.embedding_size, config.pose_size
        parts = ENCODERS[config.encoder](config, image_size)
        self.backbone = parts.backbone()
        self.pose_backbone = parts.backbone() if config.separate_backbones else None
        self.au_branch = parts.branch(self.embedding_size)
        self.pose_branch = parts.branch(self.pose_size)
        self.decorrelation = (
            Decorrelation(self.embedding_size, self.pose_size) if config.decorrelate else None
        )

    def forward(self, *images: Tensor) -> Embeddings:
        """Embed images (N, 3, S, S), float in [0, 1] or uint8.

        Args:
            images: The faces. Several batches of one size may be given. They are embedded as if one
                after the other, in less time: in training, each has batch norm statistics of its
                own. The result has the rows of all.

        Raises:
            ValueError: The images do not have this encoder's size.
        """
        return self.decorrelated(self.correlated(*images), len(images))

    def correlated(self, *images: Tensor) -> Embeddings:
        """Embed images as `forward` does, but without decorrelation."""
        shape = (3, self.image_size, self.image_size)
        for batch in images:
            if batch.shape[1:] != shape:
                raise ValueError(
                    f"images have shape {tuple(batch.shape)}, this model needs (N, 3, S, S) "
                    f"with S = image_size = {self.image_size}"
                )
        pixels, parts = [unit_range(batch) for batch in images], len(images)
        maps = self.backbone(*pixels)
        pose_maps = maps if self.pose_backbone is None else self.pose_backbone(*pixels)
        return Embeddings(self.au_branch(maps, parts), self.pose_branch(pose_maps, parts))

    def decorrelated(self, embeddings: Embeddings, parts: int = 1) -> Embeddings:
        """Remove from AU embeddings what their pose embeddings predict, if so configured.

        In training, the moments of `Decorrelation` follow each of the `parts` equal parts of the
        rows.
        """
        if self.decorrelation is None:
            return embeddings
        return embeddings._replace(au=apply_in_parts(self.decorrelation, parts, *embeddings))

    def passes(self) -> list[nn.Module]:
        """List the modules that do nearly all of the work. Batch norm has their only state.

        So they can be compiled, or computed again for the gradient.
        """
        parts = [self.backbone, self.pose_backbone, self.au_branch, self.pose_branch]
        return [part for part in parts if part is not None]


def unit_range(images: Tensor) -> Tensor:
    """Return images as float in [0, 1]. uint8 is divided by 255, float is returned as it is.

    Raises:
        ValueError: They are of another dtype, which does not say what its largest value is.
    """
    if images.dtype == torch.uint8:
        return images.float() / 255
    if not images.is_floating_point():
        raise ValueError(f"images: have dtype {images.dtype}, need uint8 or float in [0, 1]")
    return images
