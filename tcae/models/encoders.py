"""The networks of encoders by name: `--model.encoder NAME`."""

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
"""Functions from a configuration and the side of the images to the parts of an encoder."""
