"""Transfer: an action means the same on every face, so another person can perform it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tcae.models.encoder import Embeddings
from tcae.models.precision import wide
from tcae.objectives.augmentation import augment
from tcae.objectives.info_nce import info_nce
from tcae_ops import warp


def transfer(
    embed: Callable[[Tensor], Embeddings],
    source: Tensor,
    embeddings: Sequence[Embeddings],
    flow: Tensor,
) -> Tensor:
    """Return how hard it is to tell each pair's action, performed by another person, from others.

    The flow gets no gradient: otherwise it would become a sign for the encoder and move no face.
    Without augmentation the encoder reads the flow off the pixels, and forgets how to tell frames
    apart.

    Args:
        embed: Embeds images.
        source: (N, 3, S, S) in [0, 1].
        embeddings: Of the sources and of the targets, N rows each.
        flow: (N, 2, S, S) AU flows in normalised units.

    Returns:
        (N,) cross-entropies.
    """
    # Pairs of one person lie side by side; of fewer than two rows some stay with theirs.
    far = len(source) // 2
    # Half precision would lose what is small beside the embeddings themselves.
    of_source, of_target = (wide(values.au) for values in embeddings)
    with torch.no_grad():
        faces = augment(warp(source.roll(far, 0), flow, units="normalized"), of_pair=1)
    changes = wide(embed(faces).au) - of_source.roll(far, 0)
    return info_nce(changes, of_target - of_source, source.new_zeros(len(source)))
