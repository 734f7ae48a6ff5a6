"""Random changes of place and colour, so that an image cannot be recognised by its very pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tcae.distributed import ranks
from tcae_ops import warp

# Changes that a camera or a face detector might make, as standard deviations: turn and scale,
# shift (half pictures), contrast, each channel's brightness, and the most noise.
_TURN, _SHIFT, _CONTRAST, _BRIGHTNESS, _NOISE = 0.04, 0.06, 0.2, 0.08, 0.04


def augment(images: Tensor, of_pair: int = 2) -> Tensor:
    """Turn, scale, shift and recolour each image at random, and add noise.

    Args:
        images: (M, 3, S, S) in [0, 1].
        of_pair: How many images there are of each pair: all first ones, then all second ones, as
            `ranks.draw` needs them.

    Returns:
        (M, 3, S, S), not clamped to [0, 1].
    """
    count, size = len(images), images.shape[-1]
    like: dict[str, Any] = {"dtype": images.dtype, "device": images.device}

    def drawn(*shape: int, draw: Callable[..., Tensor] = torch.randn) -> Tensor:
        return ranks.draw(draw, count, *shape, of_pair=of_pair, **like)

    side = torch.linspace(-1, 1, size, **like)
    x, y = torch.meshgrid(side, side, indexing="xy")
    zoom, turn, shift = _TURN * drawn(1, 1), _TURN * drawn(1, 1), _SHIFT * drawn(2, 1, 1)
    flow = torch.stack([zoom * x - turn * y, turn * x + zoom * y], 1) + shift
    moved = warp(images, flow, units="normalized") - 0.5
    coloured = moved * (_CONTRAST * drawn(1, 1, 1)).exp() + 0.5 + _BRIGHTNESS * drawn(3, 1, 1)
    strength = _NOISE * drawn(1, 1, 1, draw=torch.rand)
    noise = drawn(*coloured.shape[1:])
    return coloured + strength * noise
