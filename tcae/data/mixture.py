"""Several packed data sets to train on, each with its share of the pairs."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from tcae.data.fingerprint import fingerprint
from tcae.data.pairs import PairBatches
from tcae.data.shards import PackedDataset

_ROWS = ("source", "target", "frames", "tracks")  # of a batch


class Mixture:
    """Packed data sets that are trained on together.

    Args:
        first: The data set that has the share that the others leave.
        others: Further data sets, each with the share of the pairs that is drawn from it.

    Attributes:
        datasets: All of them.
        shares: The share of each; they sum to 1.

    Raises:
        ValueError: A share is not above 0, nothing is left for the first, or faces are aligned
            otherwise than in the first.
    """

    def __init__(
        self, first: PackedDataset, others: Sequence[tuple[PackedDataset, float]] = ()
    ) -> None:
        self.datasets = (first, *(dataset for dataset, _ in others))
        rest = 1 - math.fsum(share for _, share in others)
        self.shares = (rest, *(share for _, share in others))
        for dataset, share in zip(self.datasets, self.shares, strict=True):
            if not 0 < share <= 1:
                raise ValueError(
                    f"mix: {dataset.path} would have a share of {share:g} of the pairs; shares "
                    "must be above 0 and leave something for --data"
                )
            if not np.allclose(dataset.template.points, first.template.points, rtol=0, atol=1e-4):
                raise ValueError(
                    f"mix: {dataset.path}: its faces are aligned to the template "
                    f"{dataset.template.name}, those of {first.path} to {first.template.name}"
                )

    @property
    def failures(self) -> list[str]:
        """Return one line for each shard that cannot be used in full."""
        return [line for dataset in self.datasets for line in dataset.failures]

    @property
    def fingerprint(self) -> str:
        """Return a hash of the frames of all data sets and of their shares."""
        single = [fingerprint(dataset) for dataset in self.datasets]
        if len(single) == 1:
            return single[0]
        return hashlib.sha256(repr((single, self.shares)).encode()).hexdigest()

    def name(self, i: int) -> str:
        """Return the name of frame `i`, counted through all data sets."""
        for dataset in self.datasets:
            if i < len(dataset):
                return dataset.name(i)
            i -= len(dataset)
        raise IndexError(i)


def read_mixture(data: Path, mix: Sequence[str]) -> Mixture:
    """Open the data set `data` and those that the option --mix names, each as DIR=SHARE.

    Raises:
        ValueError: An item is not written like that, or a data set cannot be used.
    """
    others = []
    for item in mix:
        path, _, share = item.rpartition("=")
        try:
            number = float(share)
        except ValueError:
            raise ValueError(f"--mix {item}: DIR=SHARE is needed, as world=0.5") from None
        others.append((PackedDataset(path), number))
    return Mixture(PackedDataset(data), others)


class MixedPairs(Dataset[dict[str, Tensor]]):
    """Batches of pairs from several data sets. Item `step` is this rank's batch of that step.

    Each pair is of one data set, and so are the `together` successive pairs of a track. The data
    sets take turns by their shares, evenly and without chance: after n turns each has had its share
    of n to within one. Each goes through its own sequence of pairs as it would alone. So a batch is
    a pure function of the seed and the step, as without a mixture.

    Args:
        parts: The pairs of each data set, alike in all but the data set.
        shares: The share of each; they sum to 1.

    Attributes:
        batch_size: Pairs per rank.
        world_size: Number of processes.
        identities: Names of all people.
    """

    def __init__(self, parts: Sequence[PairBatches], shares: Sequence[float]) -> None:
        self._parts, self._shares = parts, shares
        self.batch_size, self.world_size = parts[0].batch_size, parts[0].world_size
        self.identities = [name for part in parts for name in part.identities]
        sizes, tracks = [len(p.dataset) for p in parts], [p.tracks for p in parts]
        self._first_frame = np.cumsum([0, *sizes])
        self._first_track = np.cumsum([0, *tracks])

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        """Return the batch of one step, as `PairBatches` does.

        Frames and tracks are counted through all data sets.
        """
        places, together = self._parts[0].places(step), self._parts[0].together
        rows: list[list[int]] = [[] for _ in self._parts]
        own: list[list[int]] = [[] for _ in self._parts]
        for i, place in enumerate(places):
            turn, of_turn = divmod(place, together)
            k, own_turn = _whose(turn, self._shares)
            rows[k].append(i)
            own[k].append(own_turn * together + of_turn)
        found = [self._of_part(k, own[k]) for k in range(len(rows)) if rows[k]]
        order = torch.tensor([i for part in rows for i in part]).argsort()
        batch = {name: torch.cat([part[name] for part in found])[order] for name in _ROWS}
        return {**batch, "failures": torch.stack([part["failures"] for part in found]).sum()}

    def _of_part(self, k: int, places: list[int]) -> dict[str, Tensor]:
        batch = self._parts[k].at(places)
        batch["frames"] += int(self._first_frame[k])
        batch["tracks"] += int(self._first_track[k])
        return batch


Pairs = PairBatches | MixedPairs
"""Batches of pairs to train on."""


def _whose(turn: int, shares: Sequence[float]) -> tuple[int, int]:
    """Return which data set has a turn, and which of its own turns this is.

    The first set has turn n where floor(n p) grows, p being its share. The others divide what is
    left in the same way.
    """
    left = 1.0
    for k, share in enumerate(shares[:-1]):
        before, after = (math.floor(n * (share / left)) for n in (turn, turn + 1))
        if after > before:
            return k, before
        turn, left = turn - before, left - share
    return len(shares) - 1, turn
