"""The table of all frames of a packed data set, made of the index of every shard."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tcae.data.clip_table import ClipTable
from tcae.data.remote import RemotePictures, remote_pictures
from tcae.data.shard_files import Blobs, Clip, ShardError, index_files, most_frames, read_index

ENTRY = np.dtype(
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
"""One frame. `clip` and `shard` are indices into the table's."""


class FrameTable(NamedTuple):
    """All frames of a data set. Their order does not depend on how they are divided into files.

    Attributes:
        shards: Names of the shards' files, without ending.
        clips: The clips.
        frames: (n,) of dtype `ENTRY`, sorted by clip and frame number.
        failures: One line for each shard that cannot be used in full.
    """

    shards: tuple[str, ...]
    clips: ClipTable
    frames: NDArray[np.void]
    failures: tuple[str, ...] = ()

    def name(self, i: int) -> str:
        """Return the name of frame `i` in label tables, "video/track/frame number"."""
        frame = self.frames[i]
        clip = self.clips[int(frame["clip"])]
        return f"{clip.video}/{clip.track}/{frame['frame']}"


def read_shards(path: Path) -> FrameTable:
    """Return the table of a data set, from its shards. Those that cannot be read are left out."""
    shards = _Shards([*index_files(path)], remote_pictures(path))
    clips = sorted({clip for local in shards.clips for clip in local})
    number = {clip: i for i, clip in enumerate(clips)}
    entries = shards.entries[: shards.starts[-1]]
    for (start, end), local in zip(pairwise(shards.starts), shards.clips, strict=True):
        numbers = np.array([number[clip] for clip in local], "<u4")
        entries["clip"][start:end] = numbers[entries["clip"][start:end]]
    frames = entries[np.lexsort((entries["frame"], entries["clip"]))]
    table = FrameTable(tuple(shards.names), ClipTable.of(clips), frames, tuple(shards.failures))
    return _without_repetition(path, table)


class _Shards:
    """What the usable shards hold, one after the other.

    Args:
        indices: Their index files.
        remote: Their pictures, if these are behind a URL.

    Attributes:
        names: Names of their files.
        clips: The clips of each.
        entries: The frames of all, numbered by the clips of their shard, and room behind them. It
            is one array, because many that were freed would leave holes in the memory.
        starts: Where the entries of each begin, and where the last one's end.
        failures: See `FrameTable`.
    """

    def __init__(self, indices: list[Path], remote: RemotePictures | None) -> None:
        self._remote = remote
        self.names: list[str] = []
        self.clips: list[list[Clip]] = []
        self.failures: list[str] = []
        self.starts = [0]
        self.entries = np.empty(sum(map(most_frames, indices)), ENTRY)
        for index in indices:
            self._read(index)

    def _read(self, index_path: Path) -> None:
        path = index_path.with_suffix(".bin")
        try:
            clips, _, records = read_index(index_path)
            end = Blobs(path).size if self._remote is None else self._remote.open(path.stem).size
        except ShardError as error:
            self.failures.append(f"{error}; this shard is left out")
            return
        inside = records["offset"] + records["length"] <= end
        if not inside.all():
            lost = len(records) - int(inside.sum())
            self.failures.append(f"{path}: truncated, {lost} of {len(records)} frames are lost")
            records = records[inside]
        self.starts.append(self.starts[-1] + len(records))
        entries = self.entries[self.starts[-2] : self.starts[-1]]
        for field in set(ENTRY.names or ()) - {"shard"}:
            entries[field] = records[field]
        entries["shard"] = len(self.names)
        self.names.append(path.stem)
        self.clips.append(clips)


def _without_repetition(path: Path, table: FrameTable) -> FrameTable:
    frames = table.frames
    same = (frames["clip"][1:] == frames["clip"][:-1]) & (
        frames["frame"][1:] == frames["frame"][:-1]
    )
    if not same.any():
        return table
    again = np.flatnonzero(same) + 1
    line = f"{path}: {len(again)} frames are there twice, as {table.name(int(again[0]))}"
    return table._replace(frames=np.delete(frames, again), failures=(*table.failures, line))
