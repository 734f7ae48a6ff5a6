"""An encoder that has learned nothing: what a trained one has to beat."""

from __future__ import annotations

import torch
from torch import Tensor

from tcae.models.batch_norm import settle_batch_norm
from tcae.models.encoder import Encoder
from tcae.models.encoder_file import FrozenEncoder
from tcae.models.model_config import ModelConfig


def untrained_encoder(config: ModelConfig, like: FrozenEncoder, images: Tensor) -> FrozenEncoder:
    """An encoder of the same shape with random weights; its batch norms know real images.

    Args:
        config: What the trained model was built from.
        like: The trained encoder.
        images: (N, 3, S, S) images to take the statistics from.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = Encoder(config, like.image_size).to(like.device)
    settle_batch_norm(encoder, lambda batch: encoder(batch.to(like.device)), images)
    return FrozenEncoder(encoder, like.template, like.crop)
