"""Labelled frames: what encoders are judged by."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tcae.cli.progress import say
from tcae.data.labels import FOLDS, LabelTable, read_labels, select, unit_number
from tcae.data.shards import PackedDataset
from tcae.evaluation.folds import chosen_folds
from tcae.evaluation.metrics import Array

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelledFrames:
    """Frames of which something is known.

    Attributes:
        dataset: The packed frames.
        labels: Labels of n of them, A action units.
        fold: (n,) the fold that each frame is tested in; negative: it is only learned from. None:
            folds are dealt when they are needed.
        pose: (n, 3) pose in these frames, None where it is not known.
    """

    dataset: PackedDataset
    labels: LabelTable
    fold: NDArray[np.int64] | None = None
    pose: Array | None = None

    @property
    def units(self) -> tuple[int, ...]:
        """Numbers of the action units."""
        return tuple(unit_number(name) for name in self.labels.names)

    @property
    def folds(self) -> NDArray[np.int64]:
        """The fold of each frame, where they have been dealt."""
        assert self.fold is not None
        return self.fold

    @property
    def fingerprint(self) -> str:
        """A hash of which frames are labelled, how, of whom, and of their folds."""
        labels = self.labels
        digest = hashlib.sha256(repr((labels.names, labels.subjects)).encode())
        for array in (labels.values, labels.frame_index, self.folds):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def part(self, rows: NDArray[np.bool_]) -> LabelledFrames:
        """Take the frames for which ``rows`` (n,) is true."""
        fold = None if self.fold is None else self.fold[rows]
        pose = None if self.pose is None else self.pose[rows]
        return LabelledFrames(self.dataset, select(self.labels, rows), fold, pose)


def read_labels_with_folds(
    table: Path, dataset: PackedDataset, folds: str | None, seed: int
) -> tuple[LabelTable, dict[str, int]]:
    """Read the labels of packed frames, and deal folds to their subjects.

    Args:
        table: The CSV file of labels.
        dataset: The packed frames.
        folds: The folds' option; see `tcae.evaluation.folds.chosen_folds`.
        seed: Of folds that are dealt.

    Returns:
        The labels of subjects who have a fold, and the fold of each subject. A warning counts
        subjects without one.

    Raises:
        ValueError: The labels or the folds cannot be used.
    """
    labels = read_labels(table, dataset)
    shipped = dataset.path / FOLDS
    if folds is None and shipped.exists():
        say(f"folds are those of {shipped}")
    fold_of = chosen_folds(folds, shipped, labels.subjects, seed)
    out = sorted(set(labels.subjects) - fold_of.keys())
    if out:
        log.warning("%d subjects are in no fold and take no part, as %s", len(out), out[0])
    rows = np.array([subject in fold_of for subject in labels.subjects], bool)
    return select(labels, rows), fold_of
