"""Batch norm of networks that were not trained."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


@torch.no_grad()
def settle_batch_norm(
    model: nn.Module, see: Callable[[Tensor], object], images: Tensor, batch_size: int = 64
) -> None:
    """Give the batch norms of a random network the statistics of real images.

    Without them the activations of random layers shrink, which would make it a weaker rival than
    it is.

    Args:
        model: The network; it is in evaluation mode afterwards.
        see: Passes a batch of images through it.
        images: (N, 3, S, S) images to take the statistics from.
        batch_size: Images in a batch.
    """
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = None  # the mean of all that was seen, not of the last batches
    model.train()
    for batch in images.split(batch_size):
        see(batch)
    model.eval()
