"""The twin-cycle autoencoder: an encoder and one motion decoder each for AUs and head pose."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal, NamedTuple

import torch
from torch import Tensor, nn

from tcae.files.options import Before
from tcae.models.batch_norm import in_parts
from tcae.models.decoder import Decoder
from tcae.models.encoder import Encoder
from tcae.models.rigid_decoder import RigidDecoder


@dataclass(frozen=True)
class ModelConfig:
    """Encoder and decoders. The field defaults are the preset `default`; see `MODEL_PRESETS`."""

    base_filters: int = 16
    """Channels of the first level, up to 8 times as many deeper down (paper, released code: 32)."""
    embedding_size: int = 128
    """Length of the AU embedding."""
    pose_size: int = 16
    """Length of the pose embedding (paper, released code: 256)."""
    pose_motion: Literal["free", "rigid"] = "rigid"
    """rigid: the pose flow is that of a rigid surface, turned, scaled and shifted; free: decoded
    like the AU flow (paper, released code)."""
    branches: Annotated[Literal["both", "au", "pose"], Before("both")] = "both"
    """Which flows there are; the other one is zero. au: one flow for all motion, as FAb-Net has."""
    composition: Literal["blend", "sequence"] = "sequence"
    """sequence: the face is changed by the AU flow, then moved by the pose flow; blend: one warp by
    the flows' mean, weighted by the masks, Eq. (2) (paper, released code)."""
    decorrelate: bool = True
    """Take out of the AU embedding what the pose embedding tells linearly (paper, code: off)."""
    separate_backbones: bool = True
    """The AU and the pose branch share no layer (paper, released code: all but three)."""
    conv_bias: bool = False
    """Biases on layers that batch norm follows and cancels (paper, released code: on)."""
    decoder_start: int = 4
    """Side of the decoders' first map: 1 = the embeddings (paper), 4 = fully connected to 4x4."""
    leading_relu: bool = False
    """A ReLU cuts the embeddings before the decoders use them (released code: on; paper: none)."""
    mask_tanh: bool = True
    """Tanh on the mask logits too, so that blending weights stay in [0.119, 0.881] (paper: on)."""
    zero_init: bool = True
    """Decoders start as the identity warp (paper, released code: PyTorch's default start)."""

    def __post_init__(self) -> None:
        for name in ("base_filters", "embedding_size", "pose_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, it must be at least 1")
        if self.decoder_start not in (1, 2, 4, 8, 16):
            raise ValueError(f"decoder_start is {self.decoder_start}, it must be 1, 2, 4, 8 or 16")


_PAPER = ModelConfig(
    base_filters=32,
    embedding_size=256,
    pose_size=256,
    pose_motion="free",
    composition="blend",
    decorrelate=False,
    separate_backbones=False,
    conv_bias=True,
    decoder_start=1,
    leading_relu=False,
    mask_tanh=True,
    zero_init=False,
)

MODEL_PRESETS: dict[str, ModelConfig] = {
    "default": ModelConfig(),
    "paper": _PAPER,
    "official": replace(_PAPER, leading_relu=True),
}
"""The paper read literally, the released code (14,717,094 parameters at 256x256), and ours.

Why `default` differs from the paper: docs/recipe.md, for pose_motion, composition, decorrelate,
separate_backbones and the sizes of embeddings. The others by one seed each on drawn cartoons
(64x64, batch 16, 300 identities, AdamW 1e-3, bf16, joint_batch_norm on): L1 of the reconstruction
over L1 of the unmoved source, on new faces.

- base_filters 16: .608 after 600 steps; 32 reached .787 after 250 in about the same time.
- decoder_start 4: .698 after 400 steps; 1 reached .852, with an AU flow of nothing.
- zero_init: the same .698; PyTorch's start reached .850.
- conv_bias off: the same function, as batch norm takes the bias out again.

mask_tanh stays as in the paper: free logits gave .609 instead of .608.
"""


class Embeddings(NamedTuple):
    """What the encoder knows of N images: `au` is phi, `pose` is psi, one row per image."""

    au: Tensor
    pose: Tensor


class Motion(NamedTuple):
    """`flow` (N, 2, S, S): x, y in normalised units; `logit` (N, 1, S, S): of the blending mask.

    Both are views of one decoder output.
    """

    flow: Tensor
    logit: Tensor


class TwinCycle(nn.Module):
    """Encoder E and decoders D_A, D_p of the paper (sections 3.1, 4.1).

    Args:
        config: the architecture.
        image_size: side of the square images: a power of two, at least 32. It sets the number of
            levels and nothing else.

    Raises:
        ValueError: if the image size is not a power of two from 32.

    Example:
        >>> model = TwinCycle(MODEL_PRESETS["official"], image_size=256)
        >>> sum(p.numel() for p in model.parameters())
        14717094
    """

    def __init__(self, config: ModelConfig, image_size: int) -> None:
        super().__init__()
        check_image_size(image_size)
        self.config = config
        self.image_size = image_size
        self.encoder = Encoder(
            image_size,
            config.base_filters,
            config.embedding_size,
            config.pose_size,
            config.conv_bias,
            config.decorrelate,
            config.separate_backbones,
        )
        self.au_decoder = self._free_decoder(config.embedding_size)
        self.pose_decoder = (
            RigidDecoder(image_size, config.pose_size)
            if config.pose_motion == "rigid"
            else self._free_decoder(config.pose_size)
        )

    def encode(self, *images: Tensor, decorrelated: bool = True) -> Embeddings:
        """Embed images (N, 3, S, S), float in [0, 1] or uint8.

        Args:
            images: The faces. Several batches of one size are embedded as one after the other, in
                less time: each has batch norm statistics of its own. The result has all rows.
            decorrelated: Whether `decorrelated` is done to the embeddings.

        Raises:
            ValueError: if the images do not have this model's size.
        """
        wanted = (3, self.image_size, self.image_size)
        for batch in images:
            if batch.shape[1:] != wanted:
                raise ValueError(
                    f"images have shape {tuple(batch.shape)}, this model needs (N, 3, S, S) "
                    f"with S = image_size = {self.image_size}"
                )
        embeddings = Embeddings(*self.encoder(*map(unit_range, images)))
        return self.decorrelated(embeddings, len(images)) if decorrelated else embeddings

    def decorrelated(self, embeddings: Embeddings, parts: int = 1) -> Embeddings:
        """Take out of AU embeddings what their pose embeddings tell linearly, if configured.

        In each of `parts` for itself.
        """
        if self.encoder.decorrelation is None:
            return embeddings
        return embeddings._replace(au=in_parts(self.encoder.decorrelation, parts, *embeddings))

    def au_motion(self, source: Tensor, target: Tensor) -> Motion:
        """T^A: the motion that gives the source the target's AUs, from AU embeddings."""
        if self.config.branches == "pose":
            return self._stillness(source)
        return _motion(self.au_decoder(source, target))

    def pose_motion(self, source: Tensor, target: Tensor) -> Motion:
        """T^p: the motion that gives the source the target's pose, from pose embeddings."""
        if self.config.branches == "au":
            return self._stillness(source)
        return _motion(self.pose_decoder(source, target))

    def _stillness(self, embeddings: Tensor) -> Motion:
        """No motion, for (N, D) embeddings."""
        return _motion(
            embeddings.new_zeros(1).expand(len(embeddings), 3, self.image_size, self.image_size)
        )

    def _free_decoder(self, embedding_size: int) -> Decoder:
        config = self.config
        return Decoder(
            self.image_size,
            config.base_filters,
            embedding_size,
            config.conv_bias,
            config.decoder_start,
            config.leading_relu,
            config.mask_tanh,
            config.zero_init,
        )


def check_image_size(image_size: int) -> None:
    """Refuse a size that halves do not lead to a single position.

    Raises:
        ValueError: if it is not a power of two from 32.
    """
    if image_size < 32 or image_size & (image_size - 1):
        raise ValueError(f"image_size is {image_size}, it must be a power of two from 32")


def unit_range(images: Tensor) -> Tensor:
    """Images as float in [0, 1]: uint8 is divided by 255, float is passed on."""
    return images.float() / 255 if images.dtype == torch.uint8 else images


def _motion(decoded: Tensor) -> Motion:
    return Motion(decoded[:, :2], decoded[:, 2:])
