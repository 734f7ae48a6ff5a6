"""Pairs of frames of one face, drawn as a pure function of (seed, step, rank, world size)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from tcae.data.pictures import resize
from tcae.data.shards import PackedDataset, ShardError
from tcae.data.split_frames import SplitFrames
from tcae.data.splits import SPLITS, Split

log = logging.getLogger(__name__)

_ATTEMPTS = 100  # redraws of one pair before the data set counts as unreadable


@dataclass(frozen=True)
class PairsConfig:
    """How pairs of frames are drawn and cropped.

    Attributes:
        same: What the two frames of a pair have in common: the "track", or only the "video". Take
            the latter only if each video shows a single person.
        split: How the data are divided for training, validation and test. "identity": by person,
            into 75, 15 and 10 %. "time": the first 75, the next 15 and the last 10 % of each
            track's frames, for data of few people.
        split_seed: Seed for dividing the people. It is not --seed, so that runs with other seeds
            have the same test people.
        crop_min: Smallest side of the random training crop, as a share of the picture's side.
        crop_max: Largest side of the random training crop. Validation and test use the centre of
            the picture, with a side halfway between smallest and largest.
        crop_shift: Largest distance of a training crop from the picture's centre, as a share of
            the picture's side, rounded up to whole pixels. Source and target have crops of their
            own. With 1 a crop may be anywhere in the picture.
        together: Number of successive training pairs from one track (or video). They have
            different frames as far as there are enough, the same crop side, and are mirrored alike.
        crop_size_per: When to draw another crop side: for every "pair", or for every "epoch" (as
            many pairs as there are people).
        jitter_validation: Crop validation and test pairs at random too, the same way every time.
        flip: Mirror half of the training pairs, source and target alike.
    """

    same: Literal["track", "video"] = "track"
    split: Literal["identity", "time"] = "identity"
    split_seed: int = 0
    crop_min: float = 0.85
    crop_max: float = 0.95
    crop_shift: float = 0.03
    together: int = 4
    crop_size_per: Literal["pair", "epoch"] = "pair"
    jitter_validation: bool = False
    flip: bool = True

    @property
    def centre_crop(self) -> float:
        """Side of the centred crop of validation and test, as a share of the picture's side."""
        return (self.crop_min + self.crop_max) / 2

    def __post_init__(self) -> None:
        if not 0 < self.crop_min <= self.crop_max <= 1:
            raise ValueError(
                "pairs.crop_min and pairs.crop_max must satisfy 0 < min <= max <= 1, "
                f"not {self.crop_min} and {self.crop_max}"
            )
        if not 0 <= self.crop_shift <= 1:
            raise ValueError(f"pairs.crop_shift is {self.crop_shift}, it must lie in [0, 1]")
        if self.together < 1:
            raise ValueError(f"pairs.together is {self.together}, it must be at least 1")


PAIRS_PRESETS: dict[str, PairsConfig] = {
    "default": PairsConfig(),
    "paper": PairsConfig(
        same="video", crop_min=1.0, crop_max=1.0, crop_shift=1.0, together=1, flip=False
    ),
    "official": PairsConfig(
        crop_min=200 / 256,
        crop_max=224 / 256,
        crop_shift=1.0,
        together=1,
        crop_size_per="epoch",
        jitter_validation=True,
        flip=False,
    ),
}
"""What trains best here, the paper's whole pictures, the released code's crops."""


class PairBatches(Dataset[dict[str, Tensor]]):
    """Batches of frame pairs. Item `step` is this rank's batch of that step.

    The pairs form one endless sequence: each identity once (with `together` pairs) in a random
    order, then each once more, and so on. Step `s` takes `batch_size * world_size` of them, an
    equal part for each rank. A pair depends only on the seed, the split and its place in the
    sequence. Use it with `DataLoader(batches, batch_size=None, sampler=range(first_step, steps))`.

    Args:
        dataset: Packed frames.
        split: "train" (random crops and flips), "val" or "test" (centre crops, by default).
        batch_size: Pairs per rank.
        seed: Seed of the run.
        rank: This process's number.
        world_size: Number of processes.
        image_size: Side of the pictures in the batches, in pixels.
        config: See `PairsConfig`.

    Attributes:
        identities: Names of the people in this split, sorted.
        together: Number of successive pairs from one track (or video).
        failures: Unreadable frames so far. Each worker process has its own count; each batch holds
            the number of its own as "failures".

    Raises:
        ValueError: The split has no pairs, or `batch_size`, `rank` or `world_size` is impossible.
    """

    def __init__(
        self,
        dataset: PackedDataset,
        split: Split,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        image_size: int | None = None,
        config: PairsConfig | None = None,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"split must be one of {SPLITS}, not {split!r}")
        if batch_size < 1 or not 0 <= rank < world_size:
            raise ValueError(f"impossible batch_size {batch_size}, rank {rank} of {world_size}")
        self.dataset, self.split, self.seed = dataset, split, seed
        self.batch_size, self.rank, self.world_size = batch_size, rank, world_size
        self.image_size = image_size or dataset.image_size
        self.config = config or PairsConfig()
        self.together = self.config.together if split == "train" else 1
        self.failures = 0
        self._warned: set[str] = set()
        config = self.config
        self._frames = SplitFrames(dataset, split, config.split, config.split_seed, config.same)
        if not len(self._frames):
            raise ValueError(self._emptiness())
        self.identities = self._frames.identities
        self._order = (-1, np.empty(0, np.int64))  # epoch, and the persons' order in it

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        """Return the batch of one step.

        Returns:
            "source" and "target", uint8 (B, 3, S, S) RGB, channels last; "frames", int64 (B, 2),
            the two indices into `dataset.frames`; "tracks", int64 (B,), equal for pairs of one
            track (or video); "failures", int64 (), the number of unreadable frames in this batch.

        Raises:
            ShardError: Hardly any frame of the data set can be read.
        """
        return self.at(self.places(step))

    def places(self, step: int) -> range:
        """Return the places of this rank's pairs of a step in the sequence of all pairs."""
        first = (step * self.world_size + self.rank) * self.batch_size
        return range(first, first + self.batch_size)

    def at(self, places: Sequence[int]) -> dict[str, Tensor]:
        """Return the pairs at places in the sequence, as a batch."""
        if get_worker_info() is not None:
            cv2.setNumThreads(0)  # OpenCV's thread pool does not survive a fork
        size, before = self.image_size, self.failures
        pictures = np.empty((2, len(places), size, size, 3), np.uint8)
        frames = np.empty((len(places), 2), np.int64)
        self.dataset.prefetch(frame for place in places for frame in self.frames_at(place))
        for i, place in enumerate(places):
            frames[i], pictures[:, i] = self._pair(place)
        source, target = torch.from_numpy(pictures).permute(0, 1, 4, 2, 3)
        failures = torch.tensor(self.failures - before)
        tracks = self._frames.groups_of(frames[:, 0])
        batch = {"source": source, "target": target, "frames": torch.from_numpy(frames)}
        return {**batch, "tracks": torch.from_numpy(tracks), "failures": failures}

    def frames_at(self, place: int) -> NDArray[np.int64]:
        """Return the frames (2,) of the pair at a place, if they can be read."""
        return self._drawn(place, attempt=0)[0]

    @property
    def tracks(self) -> int:
        """Return the number of tracks (or videos) in this split."""
        return len(self._frames.groups)

    def _pair(self, place: int) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Return frame numbers (2,) and pictures (2, S, S, 3) of the pair at a place."""
        error: ShardError | None = None
        for attempt in range(_ATTEMPTS):
            frames, shared = self._drawn(place, attempt)
            try:
                pictures = [self.dataset.read(int(i)) for i in frames]
                return frames, self._crop(pictures, shared, place)
            except ShardError as failure:
                error = failure
                self._count_failure(failure)
        raise ShardError(f"no readable pair in {_ATTEMPTS} draws; the last: {error}")

    def _drawn(self, place: int, attempt: int) -> tuple[NDArray[np.int64], np.random.Generator]:
        """Return the frames of the pair at a place, and what draws the rest of its row.

        A pair that cannot be read is redrawn: first with the same person, then with others.
        """
        row, turn = divmod(place, self.together)
        epoch, who = divmod(row, len(self.identities))
        shared = self._random(1, row, attempt)
        person = int(self._shuffled(epoch)[who])
        if attempt >= _ATTEMPTS // 10:
            person = int(shared.integers(len(self.identities)))
        return self._two_frames(person, turn, shared), shared

    def _two_frames(self, person: int, turn: int, random: np.random.Generator) -> NDArray[np.int64]:
        """Return the frames of pair `turn` of a row: those of a track, shuffled, two by two."""
        frames = self._frames
        start, end = frames.bounds(frames.persons, person)
        one = int(random.integers(start, end))  # long tracks come more often
        group = int(np.searchsorted(frames.groups, one, side="right")) - 1
        start, end = frames.bounds(frames.groups, group)
        order = random.permutation(end - start)
        rounds, twos = divmod(turn, (end - start) // 2)
        order = np.roll(order, rounds)  # a track too short for the row: other twos of it
        return frames[start + order[2 * twos : 2 * twos + 2]]

    def _crop(
        self, pictures: list[NDArray[np.uint8]], shared: np.random.Generator, place: int
    ) -> NDArray[np.uint8]:
        """Return both pictures (2, S, S, 3), cropped, resized and perhaps mirrored."""
        row, turn = divmod(place, self.together)
        config, full = self.config, self.dataset.image_size
        train = self.split == "train"
        jitter = train or config.jitter_validation
        share = config.centre_crop
        mirror = train and config.flip and shared.random() < 0.5
        if jitter:
            source = (
                shared
                if config.crop_size_per == "pair"
                else self._random(2, row // len(self.identities))
            )
            share = source.uniform(config.crop_min, config.crop_max)
        side = max(round(share * full), 1)
        middle = (full - side) / 2
        low = int(max(middle - config.crop_shift * full, 0))
        high = full - side - low
        own = shared.spawn(turn + 1)[turn]  # of this pair of the row
        result = np.empty((2, self.image_size, self.image_size, 3), np.uint8)
        for picture, out in zip(pictures, result, strict=True):
            y, x = own.integers(low, high + 1, 2) if jitter else [int(middle)] * 2
            cropped = resize(picture[y : y + side, x : x + side], self.image_size)
            out[:] = cropped[:, ::-1] if mirror else cropped
        return result

    def _emptiness(self) -> str:
        text = f"{self.dataset.path}: no pair of frames for the {self.split} split"
        if self.config.split == "identity":
            return (
                f"{text} among {len(self.dataset.clips.identities)} identities; --pairs.split time "
                "splits every track in time instead, --pairs.split-seed deals the identities anew"
            )
        return f"{text}: its tracks are too short; --pairs.same video joins the tracks of a video"

    def _random(self, *purpose: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, SPLITS.index(self.split), *purpose])

    def _shuffled(self, epoch: int) -> NDArray[np.int64]:
        if self._order[0] != epoch:
            self._order = (epoch, self._random(0, epoch).permutation(len(self.identities)))
        return self._order[1]

    def _count_failure(self, error: ShardError) -> None:
        self.failures += 1
        file = str(error).partition(":")[0]
        if file not in self._warned:
            self._warned.add(file)
            log.warning("%s; drawing other pairs instead", error)
