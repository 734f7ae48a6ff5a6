"""Embedding distances, Eq. (5), (6): a changed face has one embedding new, the other one old."""

from __future__ import annotations

from torch import Tensor

from tcae.distributed import ranks
from tcae.models.precision import wide
from tcae.objectives.objective_config import ObjectiveConfig


def embedding_distance(
    embeddings: Tensor, targets: Tensor, config: ObjectiveConfig, training: bool
) -> Tensor:
    """Return the mean squared difference between embeddings and the ones they should equal.

    Args:
        embeddings: (M, D) of every `config.twin_every`-th pair.
        targets: (N, D) of all pairs.
        config: Says whether targets get gradient, and what distances are divided by.
        training: Whether the loss is of a training step; `shrink_validation` looks at it.

    Returns:
        (M,), fp32 (fp64 for fp64).

    Raises:
        ValueError: Distances are to be divided by the variance of a single pair.
    """
    embeddings, targets = wide(embeddings), wide(targets)
    if config.detach_embedding_targets:
        targets = targets.detach()
    distance = (embeddings - targets[:: config.twin_every]).square().mean(1)
    if config.scale_embeddings:
        distance = distance / _variance(targets)
    if config.shrink_validation and not training:
        distance = distance / (ranks.world_size() * targets.numel())
    return distance


def _variance(embeddings: Tensor) -> Tensor:
    """Return the variance over the batch, averaged over channels; a constant to the gradient."""
    embeddings = ranks.gather(embeddings.detach())
    if len(embeddings) < 2:
        raise ValueError("scale_embeddings divides by a variance over the batch, which has 1 pair")
    return embeddings.var(0, correction=0).mean().clamp_min(1e-12)
