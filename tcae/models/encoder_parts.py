"""What a network has to bring to be an encoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import nn


class EncoderParts(NamedTuple):
    """How to make the parts of an encoder.

    Attributes:
        backbone: Makes a module that maps batches of images, each (N, 3, S, S) float in [0, 1], to
            maps of all of them, one batch after the other: `backbone(*batches)`. In training each
            batch has batch norm statistics of its own.
        branch: Makes, for an embedding of some length D, a module that maps these maps to
            embeddings (M, D): `branch(maps, parts)`, with statistics of its own for each of the
            equal `parts` of the rows (`tcae.models.batch_norm.Parted`).
    """

    backbone: Callable[[], nn.Module]
    branch: Callable[[int], nn.Module]
