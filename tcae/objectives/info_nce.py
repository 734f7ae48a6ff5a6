"""InfoNCE within tracks: which frame of its track does an embedding belong to?"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from tcae.distributed import ranks
from tcae.models.precision import wide

_TEMPERATURE = 0.15
_SMALLEST = 1e-4  # length of a difference that counts in full: rounding must not decide


def info_nce(queries: Tensor, keys: Tensor, tracks: Tensor) -> Tensor:
    """Return the cross-entropy of matching each query to its key among the keys of its track.

    Embeddings are compared by the angle between their differences from the track's mean. What all
    frames of a track have in common, such as the person, is therefore of no use. The value is the
    mean of matching queries to keys and keys to queries. With several processes, the frames of all
    of them are compared.

    Args:
        queries: (M, D) embeddings.
        keys: (M, D) embeddings; row i is the right answer to query i.
        tracks: (M,) the track of each row; wrong answers come from the same one.

    Returns:
        (M,), fp32 (fp64 for fp64).
    """
    queries, keys, tracks = (ranks.gather(values) for values in (queries, keys, tracks))
    same = tracks[:, None] == tracks
    # In half precision the track's mean, which may be far longer than the differences, would stay.
    with torch.autocast(queries.device.type, enabled=False):
        queries, keys = (_direction(wide(embeddings), same) for embeddings in (queries, keys))
        likeness = (queries @ keys.T / _TEMPERATURE).masked_fill(~same, -torch.inf)
        # Not F.cross_entropy, which torch lists as not deterministic on a GPU.
        of_all = (likeness.logsumexp(0) + likeness.logsumexp(1)) / 2
        return (of_all - likeness.diagonal()).chunk(ranks.world_size())[ranks.rank()]


def _direction(embeddings: Tensor, same: Tensor) -> Tensor:
    """Return unit vectors (M, D) from tracks' means; `same` (M, M): which rows share a track."""
    share = same.to(embeddings) / same.sum(1, keepdim=True)
    return F.normalize(embeddings - share @ embeddings, dim=1, eps=_SMALLEST)
