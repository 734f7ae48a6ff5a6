"""Rendered people, what a probe says of them, and what is true."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tcae.data.labels import LABELS, read_intensities, read_labels
from tcae.data.shards import PackedDataset
from tcae.data.synthetic.packed import PRESENT, TRUTH
from tcae.data.synthetic.world import World
from tcae.evaluation.embedding import embed_frames
from tcae.evaluation.linear_probe import LinearProbe
from tcae.evaluation.metrics import Array
from tcae.measuring.people import rendered
from tcae.models.encoder_file import FrozenEncoder


@dataclass(frozen=True)
class RenderedFaces:
    """N frames of rendered people, for A action units.

    Attributes:
        logits: (N, A) of the probe.
        intensities: (N, A) the truth, in [0, 1].
        people: (N,) their names.
    """

    logits: Array
    intensities: Array
    people: NDArray[np.str_]

    @property
    def present(self) -> Array:
        """Return (N, A) 1 where the intensity is 2 of 5 or more, else 0. All frames count."""
        return (self.intensities >= PRESENT).astype(float)


def rendered_faces(
    encoder: FrozenEncoder, probe: LinearProbe, world: World, cache: Path
) -> RenderedFaces:
    """Render the people of a world, unless they are in the cache, and show them to a probe."""
    data = PackedDataset(rendered(cache, world))
    labels = read_labels(data.path / LABELS, data)
    truth = read_intensities(data.path / TRUTH, data, labels)
    embedded = embed_frames(encoder, data, labels.frame_index)
    return RenderedFaces(
        probe.logits(embedded.of(probe.embedding)).astype(float),
        truth[:, [labels.names.index(name) for name in probe.names]].astype(float),
        np.array(labels.subjects),
    )
