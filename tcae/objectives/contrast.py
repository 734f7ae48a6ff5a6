"""Which frame of its video is this? The AU embedding must tell, in whatever pose the frame comes.

The embedding terms of Eq. (5), (6) ask for embeddings that do not change where only the other cause
of motion did; a constant obeys them best. Asked as a question with wrong answers beside the right
one, the same wish cannot be met by knowing nothing. Frames of one video share person, light and
room, and the pose is that of another frame: what is left to tell them apart is the facial action.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tcae.distributed import ranks
from tcae.models.precision import wide
from tcae_ops import warp

_TEMPERATURE = 0.15
_SMALLEST = 1e-4  # length of a difference that counts in full: rounding must not decide
# Changes that a camera or a face detector might make, as standard deviations: turn and scale,
# shift (half pictures), contrast, each channel's brightness, and the most noise.
_TURN, _SHIFT, _CONTRAST, _BRIGHTNESS, _NOISE = 0.04, 0.06, 0.2, 0.08, 0.04


def contrast(found: Tensor, wanted: Tensor, tracks: Tensor) -> Tensor:
    """How badly each frame is told from the others of its track: (M,) cross-entropies.

    Embeddings are compared by the angle between their differences from the track's mean, so what a
    track's frames have in common, as the person, is of no use. InfoNCE, taken both ways.

    Args:
        found: (M, D) embeddings of changed frames.
        wanted: (M, D) embeddings of the frames as they are, in the same order.
        tracks: (M,) the track of each; wrong answers come from the same one.
    """
    same = tracks[:, None] == tracks
    # In half precision the track's mean, which may be far longer than the differences, would stay.
    with torch.autocast(found.device.type, enabled=False):
        found, wanted = (_direction(wide(embeddings), same) for embeddings in (found, wanted))
        likeness = (found @ wanted.T / _TEMPERATURE).masked_fill(~same, -torch.inf)
        answer = torch.arange(len(found), device=found.device)
        both = [F.cross_entropy(rows, answer, reduction="none") for rows in (likeness, likeness.T)]
        return torch.stack(both).mean(0)


def _direction(embeddings: Tensor, same: Tensor) -> Tensor:
    """Unit vectors (M, D) from the means of rows that are the `same` (M, M) track's."""
    share = same.to(embeddings) / same.sum(1, keepdim=True)
    return F.normalize(embeddings - share @ embeddings, dim=1, eps=_SMALLEST)


def disguise(images: Tensor, of_pair: int = 2) -> Tensor:
    """Images (M, 3, S, S) in [0, 1], each turned, scaled, shifted, recoloured and noisy at random.

    Otherwise the very noise and place of an image would tell it from others. There are `of_pair`
    images of each pair: all first ones, then all second ones, for `ranks.drawn`.
    """
    count, size = len(images), images.shape[-1]

    def drawn(*shape: int, draw: Callable[..., Tensor] = torch.randn, **like: Any) -> Tensor:
        return ranks.drawn(draw, count, *shape, of_pair=of_pair, **like).to(images)

    side = torch.linspace(-1, 1, size).to(images)
    x, y = torch.meshgrid(side, side, indexing="xy")
    zoom, turn, shift = _TURN * drawn(1, 1), _TURN * drawn(1, 1), _SHIFT * drawn(2, 1, 1)
    flow = torch.stack([zoom * x - turn * y, turn * x + zoom * y], 1) + shift
    moved = warp(images, flow, units="normalized") - 0.5
    coloured = moved * (_CONTRAST * drawn(1, 1, 1)).exp() + 0.5 + _BRIGHTNESS * drawn(3, 1, 1)
    strength = _NOISE * drawn(1, 1, 1, draw=torch.rand)
    noise = drawn(*coloured.shape[1:], dtype=coloured.dtype, device=coloured.device)
    return coloured + strength * noise
