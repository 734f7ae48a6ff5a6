"""The two parts that a network must provide to be an encoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import nn


class EncoderParts(NamedTuple):
    """Functions that build the parts of an encoder.

    Attributes:
        backbone: Builds a module that is called as `backbone(*batches)`. It turns batches of
            images, each (N, 3, S, S) float in [0, 1], into the maps of all of them, in order. In
            training, each batch has batch norm statistics of its own.
        branch: Takes the length D of an embedding and builds a module that is called as
            `branch(maps, parts)`. It turns these maps into embeddings (M, D). In training, each of
            the `parts` equal parts of the rows has batch norm statistics of its own
            (`tcae.models.batch_norm.SequentialInParts`).
    """

    backbone: Callable[[], nn.Module]
    branch: Callable[[int], nn.Module]
