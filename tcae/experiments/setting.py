"""What an experiment is about: how much it may cost, and the labelled frames it is judged by."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tcae.data.labels import LabelTable
from tcae.data.shards import PackedDataset
from tcae.evaluation.protocol import select


@dataclass(frozen=True)
class Budget:
    """What an experiment may cost; None: as long as the recipe says.

    Attributes:
        image_size: Side of the images in pixels.
        twin_cycle: Minutes of training for TCAE.
        baseline: Minutes of training for each other self-supervised network.
        fold: Minutes of training for each supervised network and fold.
        ablation: Minutes of training for each variant of the ablation.
        ablation_size: Side of the images of the ablation; None: as of all others. Where minutes
            are short, smaller images leave time for steps in which all loss terms count.
        pairs: Pairs of frames of Figure 5.
    """

    image_size: int
    twin_cycle: float | None
    baseline: float | None
    fold: float | None
    ablation: float | None
    ablation_size: int | None = None
    pairs: int = 6400


BUDGETS = {
    "small": Budget(64, twin_cycle=8.0, baseline=3.0, fold=0.6, ablation=2.0, ablation_size=32),
    "full": Budget(256, twin_cycle=None, baseline=None, fold=None, ablation=None),
}
"""small: the whole of an experiment within an hour on two cores."""


@dataclass(frozen=True)
class Labelled:
    """Labelled frames.

    Attributes:
        dataset: The packed frames.
        labels: Labels of n of them, A action units.
        fold: (n,) the fold that each frame is tested in; negative: it is only learned from.
    """

    dataset: PackedDataset
    labels: LabelTable
    fold: NDArray[np.int64]

    @property
    def units(self) -> tuple[int, ...]:
        """Numbers of the action units."""
        return tuple(unit_number(name) for name in self.labels.names)

    @property
    def fingerprint(self) -> str:
        """A hash of which frames are labelled, how, of whom, and of their folds."""
        labels = self.labels
        digest = hashlib.sha256(repr((labels.names, labels.subjects)).encode())
        for array in (labels.values, labels.frame_index, self.fold):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def part(self, rows: NDArray[np.bool_]) -> Labelled:
        """The frames for which ``rows`` (n,) is true."""
        return Labelled(self.dataset, select(self.labels, rows), self.fold[rows])


def unit_number(name: str) -> int:
    """The number in a column's name: 4 of "AU04", "au4" or "4".

    Raises:
        ValueError: It has none.
    """
    found = re.fullmatch(r"(?:au)?_?0*(\d+)", name.strip(), re.IGNORECASE)
    if found is None:
        raise ValueError(f"label column {name!r} is not called after an action unit, as AU04 is")
    return int(found[1])


def with_units(labels: LabelTable, wanted: Sequence[int]) -> LabelTable:
    """The columns of these action units, in this order.

    Raises:
        ValueError: One is not there.
    """
    have = {unit_number(name): column for column, name in enumerate(labels.names)}
    missing = [str(unit) for unit in wanted if unit not in have]
    if missing:
        raise ValueError(
            f"labels: AU {', '.join(missing)} is needed and not among {', '.join(labels.names)}"
        )
    columns = [have[unit] for unit in wanted]
    names = tuple(labels.names[column] for column in columns)
    return replace(labels, names=names, values=labels.values[:, columns])
