"""The encoders' networks by name: `--model.encoder NAME`."""

from __future__ import annotations

from collections.abc import Callable

from tcae.models.encoder_parts import EncoderParts
from tcae.models.model_config import ModelConfig
from tcae.models.plain_encoder import plain_encoder
from tcae.models.residual_encoder import residual_encoder

ENCODERS: dict[str, Callable[[ModelConfig, int], EncoderParts]] = {
    "plain": plain_encoder,
    "residual": residual_encoder,
}
"""What each is built of, from the configuration and the images' side."""
