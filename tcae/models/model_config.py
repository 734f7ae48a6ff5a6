"""The configuration of a model: sizes and switches of encoder and decoders, and their presets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from tcae.files.options import Before, retired


@retired(mask_tanh=True)
@dataclass(frozen=True)
class ModelConfig:
    """Encoder and decoders."""

    encoder: Annotated[Literal["plain", "residual"], Before("plain")] = "plain"
    """Network of the encoder. plain: strided convolutions (paper, released code); residual: with
    residual blocks."""
    base_filters: int = 16
    """Channels of the first level of encoder and decoders. Deeper levels have up to 8 times as
    many. Larger: more capacity, slower steps (paper, released code: 32)."""
    embedding_size: int = 128
    """Length of the AU embedding (paper, released code: 256)."""
    pose_size: int = 16
    """Length of the pose embedding (paper, released code: 256)."""
    pose_motion: Literal["free", "rigid"] = "rigid"
    """What the pose flow can be. rigid: the motion of a rigid head that is turned, scaled and
    shifted; free: any flow, decoded like the AU flow (paper, released code)."""
    branches: Annotated[Literal["both", "au", "pose"], Before("both")] = "both"
    """Which flows the model has. The other one is zero. au: one flow for all motion, as in
    FAb-Net (paper, released code: both)."""
    composition: Literal["blend", "sequence"] = "sequence"
    """How the two flows make the target. sequence: the AU flow changes the face, then the pose flow
    moves it; blend: a single warp by the mean of both flows, weighted by the masks, Eq. (2) (paper,
    released code)."""
    decorrelate: bool = True
    """Remove from the AU embedding what a linear map of the pose embedding can predict (paper,
    released code: off)."""
    separate_backbones: bool = True
    """Give the AU and the pose embedding a network each. Off: they share all layers but the last
    ones (paper, released code: off, all but three)."""
    conv_bias: bool = False
    """Give layers before a batch norm a bias, which the batch norm cancels (paper, released code:
    on)."""
    decoder_start: int = 4
    """Side of the decoders' first map, in pixels, or the next one above it that halving the image
    leads to. 1: the embeddings themselves (paper, released code); larger: a fully connected layer
    computes it."""
    leading_relu: bool = False
    """Pass the embeddings through a ReLU before the decoders use them (paper: off, released code:
    on)."""
    zero_init: bool = True
    """Start training with decoders that move nothing. Off: PyTorch's random start (paper, released
    code: off)."""

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

Why `default` differs from the paper: docs/recipe.md explains pose_motion, composition, decorrelate,
separate_backbones and the sizes of the embeddings. The others were measured with one seed each on
drawn cartoons (64x64, batch 16, 300 identities, AdamW 1e-3, bf16, joint_batch_norm on). The figures
are the L1 of the reconstruction over that of the unmoved source, on new faces.

- base_filters 16: .608 after 600 steps; 32 reached .787 after 250, in about the same time.
- decoder_start 4: .698 after 400 steps; 1 reached .852, with an AU flow of zero.
- zero_init: the same .698; PyTorch's start reached .850.
- conv_bias off: the same function, because batch norm cancels the bias.
"""


def check_image_size(image_size: int) -> None:
    """Check that the first levels of networks can halve an image of this side without a rest.

    Raises:
        ValueError: The side is not a multiple of 16 from 32.
    """
    if image_size < 32 or image_size % 16:
        raise ValueError(f"image_size is {image_size}, it must be a multiple of 16 from 32")
