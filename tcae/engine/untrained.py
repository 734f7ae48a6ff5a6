"""An encoder that has learned nothing: what a trained one has to beat."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tcae.engine.encoder_file import FrozenEncoder
from tcae.models.twin_cycle import ModelConfig, TwinCycle


@torch.no_grad()
def untrained_encoder(config: ModelConfig, like: FrozenEncoder, images: Tensor) -> FrozenEncoder:
    """An encoder of the same shape with random weights.

    Its batch norms know the statistics of real images: without them the activations of random
    layers shrink, which would make it a weaker rival than it is.

    Args:
        config: What the trained model was built from.
        like: The trained encoder.
        images: (N, 3, S, S) images to take the statistics from.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = TwinCycle(config, like.image_size).to(like.device)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean of all that was seen, not of the last batches
    for batch in images.split(64):
        model.train().encode(batch.to(like.device))
    return FrozenEncoder(model, like.image_size, like.template, like.crop)
