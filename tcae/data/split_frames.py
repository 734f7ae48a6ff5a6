"""The frames of one split, as runs of successive frames: what is kept grows with the clips."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tcae.data.shards import PackedDataset
from tcae.data.splits import TRAIN_SHARE, VAL_SHARE, Split, split_of

Array = NDArray[np.int64]

_SHARES = {
    "train": (0.0, TRAIN_SHARE),
    "val": (TRAIN_SHARE, TRAIN_SHARE + VAL_SHARE),
    "test": (TRAIN_SHARE + VAL_SHARE, 1.0),
}


class SplitFrames:
    """The frames of a split that share their track (or video) with another one of them.

    They are counted through, from 0: a frame's place is its number among them.

    Args:
        dataset: The packed frames.
        split: The part of them.
        by: What is divided: the people ("identity"), or the length of each track ("time").
        seed: Seed for dividing the people.
        same: What a group is: a "track" or a "video".

    Attributes:
        groups: (G,) places at which each group begins.
        persons: (P,) places at which each person begins.
        identities: Names of these people.
    """

    def __init__(
        self,
        dataset: PackedDataset,
        split: Split,
        by: Literal["identity", "time"],
        seed: int,
        same: Literal["track", "video"],
    ) -> None:
        clips = dataset.clips
        person = clips.person_numbers()
        group = clips.video_numbers() if same == "video" else np.arange(len(clips))
        first, count = _parts(dataset.clip_starts(), _SHARES[split] if by == "time" else (0, 1))
        if by == "identity":
            chosen = [split_of(name, seed) == split for name in clips.identities]
            count *= np.array(chosen, bool)[person]
        together = np.bincount(group, count, minlength=1)[group]
        runs = np.flatnonzero((count > 0) & (together > 1))
        self._first = first[runs]
        self._starts = np.cumsum(count[runs]) - count[runs]  # places
        self._length = int(count[runs].sum())
        self.groups, self.persons = (
            self._starts[np.unique(numbers[runs], return_index=True)[1]]
            for numbers in (group, person)
        )
        self.identities = [clips.identities[i] for i in np.unique(person[runs]).tolist()]

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, places: Array) -> Array:
        """Return the frames at some places, as indices into `PackedDataset.frames`."""
        run = np.searchsorted(self._starts, places, side="right") - 1
        return self._first[run] + (places - self._starts[run])

    def groups_of(self, frames: Array) -> Array:
        """Return the group of each of some frames of the split, an index into `groups`."""
        run = np.searchsorted(self._first, frames, side="right") - 1
        return np.searchsorted(self.groups, self._starts[run], side="right") - 1

    def bounds(self, starts: Array, i: int) -> tuple[int, int]:
        """Return the places from which and up to which group or person `i` goes.

        Args:
            starts: `groups` or `persons`.
            i: An index into them.
        """
        end = starts[i + 1] if i + 1 < len(starts) else len(self)
        return int(starts[i]), int(end)


def _parts(starts: Array, share: tuple[float, float]) -> tuple[Array, Array]:
    """Return the first frame, and the number of frames, in a part of each clip's length."""
    length = np.diff(starts)
    low, high = (np.ceil(length * end).astype(np.int64) for end in share)
    return starts[:-1] + low, high - low
