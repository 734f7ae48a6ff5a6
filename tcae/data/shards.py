"""Packed data sets: random access to the frames of the files in `tcae.data.shard_files`."""

from __future__ import annotations

import logging
import os
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcae.data.pictures import decode_image
from tcae.data.shard_files import Blobs, Clip, PackInfo, ShardError, index_files, read_index

log = logging.getLogger(__name__)

_OPEN_FILES = 64

# One frame of a data set in memory; `clip` indexes `PackedDataset.clips`.
_ENTRY = np.dtype(
    [
        ("clip", "<u4"),
        ("shard", "<u4"),
        ("frame", "<i8"),
        ("offset", "<u8"),
        ("length", "<u4"),
        ("crc32", "<u4"),
        ("timestamp", "<f8"),
        ("confidence", "<f4"),
    ]
)


class PackedDataset:
    """Random access to the frames of a packed data set.

    The order of the frames does not depend on how they are divided into files. Shards that cannot
    be read are left out, with one warning each.

    Args:
        path: Directory that `python -m tcae.pack` wrote.

    Attributes:
        path: That directory.
        image_size: Side of the pictures in pixels.
        template: Alignment template of the faces.
        clips: The clips, sorted by identity, video and track.
        frames: Structured array sorted by clip and frame number, with fields `clip` (index into
            `clips`), `frame` (number in the source video), `timestamp` (s), `confidence`, and
            where the picture lies (`shard`, `offset`, `length`, `crc32`).
        failures: One line for each shard that cannot be used in full.

    Raises:
        ShardError: Not a packed data set, or no readable frame in it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        info = PackInfo.load(self.path)
        self.image_size, self.template = info.image_size, info.template
        self.failures: list[str] = []
        self._shards: list[Path] = []
        self._files: OrderedDict[int, Blobs] = OrderedDict()
        tables = [table for file in index_files(self.path) for table in self._open_shard(file)]
        self.clips = sorted({clip for clips, _ in tables for clip in clips})
        self.frames = self._without_repetition(_merge(tables, self.clips))
        if not len(self.frames):
            raise ShardError(f"{self.path}: holds no readable frame")

    def __len__(self) -> int:
        return len(self.frames)

    def name(self, i: int) -> str:
        """Return the name of frame `i` in label tables, "video/track/frame number"."""
        return self._name(self.frames[i])

    def identity(self, i: int) -> str:
        """Return the name of the person in frame `i`."""
        return self.clips[self.frames["clip"][i]].identity

    def read(self, i: int) -> NDArray[np.uint8]:
        """Return the picture of frame `i`: (image_size, image_size, 3) uint8, RGB.

        Raises:
            ShardError: The picture is damaged or missing.
        """
        frame = self.frames[i]
        file = self._blobs(int(frame["shard"]))
        blob = file.read(int(frame["offset"]), int(frame["length"]))
        if zlib.crc32(blob) != frame["crc32"]:
            raise ShardError(f"{file.path}: damaged at frame {self.name(i)}")
        rgb = decode_image(blob)
        if rgb is None or rgb.shape != (self.image_size, self.image_size, 3):
            raise ShardError(f"{file.path}: frame {self.name(i)} is no picture of the right size")
        return rgb

    def _open_shard(self, index_path: Path) -> Iterator[tuple[list[Clip], NDArray[np.void]]]:
        """Return the clips and entries of a shard, if it is usable."""
        path = index_path.with_suffix(".bin")
        try:
            clips, _, records = read_index(index_path)
            end = Blobs(path).size
        except ShardError as error:
            self._fail(f"{error}; this shard is left out")
            return
        inside = records["offset"] + records["length"] <= end
        if not inside.all():
            lost = len(records) - int(inside.sum())
            self._fail(f"{path}: truncated, {lost} of {len(records)} frames are lost")
            records = records[inside]
        entries = np.empty(len(records), _ENTRY)
        for field in set(_ENTRY.names or ()) - {"shard"}:
            entries[field] = records[field]
        entries["shard"] = len(self._shards)
        self._shards.append(path)
        yield clips, entries

    def _name(self, frame: np.void) -> str:
        clip = self.clips[frame["clip"]]
        return f"{clip.video}/{clip.track}/{frame['frame']}"

    def _without_repetition(self, frames: NDArray[np.void]) -> NDArray[np.void]:
        same = (frames["clip"][1:] == frames["clip"][:-1]) & (
            frames["frame"][1:] == frames["frame"][:-1]
        )
        if not same.any():
            return frames
        again = np.flatnonzero(same) + 1
        self._fail(
            f"{self.path}: {len(again)} frames are there twice, as {self._name(frames[again[0]])}"
        )
        return np.delete(frames, again)

    def _fail(self, line: str) -> None:
        log.warning("%s", line)
        self.failures.append(line)

    def _blobs(self, shard: int) -> Blobs:
        if shard not in self._files:
            if len(self._files) >= _OPEN_FILES:
                self._files.popitem(last=False)
            self._files[shard] = Blobs(self._shards[shard])
        self._files.move_to_end(shard)
        return self._files[shard]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": OrderedDict()}


def _merge(
    tables: list[tuple[list[Clip], NDArray[np.void]]], clips: list[Clip]
) -> NDArray[np.void]:
    """Return all shards' entries with clip numbers of the whole set, sorted by clip and frame."""
    number = {clip: i for i, clip in enumerate(clips)}
    for local, entries in tables:
        if len(local):
            entries["clip"] = np.array([number[clip] for clip in local])[entries["clip"]]
    merged = np.concatenate([np.empty(0, _ENTRY), *(entries for _, entries in tables)])
    return merged[np.lexsort((merged["frame"], merged["clip"]))]
