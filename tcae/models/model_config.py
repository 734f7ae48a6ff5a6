"""What a model is built from: the sizes and switches of encoder and decoders, and their presets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from tcae.files.options import Before, retired


@retired(mask_tanh=True)
@dataclass(frozen=True)
class ModelConfig:
    """Encoder and decoders. The field defaults are the preset `default`; see `MODEL_PRESETS`."""

    encoder: Annotated[Literal["plain", "residual"], Before("plain")] = "plain"
    """The encoder's network, a name in `tcae.models.encoders` (paper, released code: plain)."""
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
    zero_init: bool = True
    """Decoders start as the identity warp (paper, released code: PyTorch's default start)."""

    def __post_init__(self) -> None:
        for name in ("base_filters", "embedding_size", "pose_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, it must be at least 1")
        if self.decoder_start not in (1, 2, 4, 8, 16):
            raise ValueError(f"decoder_start is {self.decoder_start}, it must be 1, 2, 4, 8 or 16")


_PAPER = ModelConfig(
    encoder="plain",
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
"""


def check_image_size(image_size: int) -> None:
    """Refuse a size that halves do not lead to a single position.

    Raises:
        ValueError: if it is not a power of two from 32.
    """
    if image_size < 32 or image_size & (image_size - 1):
        raise ValueError(f"image_size is {image_size}, it must be a power of two from 32")
