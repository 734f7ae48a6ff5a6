"""The check of a packed data set: every checksum, and whether everything is still there."""

from __future__ import annotations

import csv
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tcae.data.pack_parts import missing_parts
from tcae.data.packing import MANIFEST, packed_videos
from tcae.data.shard_files import Blobs, PackInfo, ShardError, index_files, read_index

_MERGED = 4 * 2**20  # pictures lie one after the other: they are read this many bytes at a time


@dataclass
class Verification:
    """The result of checking a packed data set.

    Attributes:
        shards: Shards whose pictures were checked.
        frames: Frames whose checksum matches.
        damages: One line for each thing that is wrong; it names the file.
    """

    shards: int = 0
    frames: int = 0
    damages: list[str] = field(default_factory=list)


def verify(
    path: str | os.PathLike[str], progress: Callable[[int], object] = lambda done: None
) -> Verification:
    """Compare every picture and index of a data set with its checksum. Write nothing.

    Args:
        path: Directory that `python -m tcae.pack` wrote. It may be read-only.
        progress: Called with the number of bytes checked since the last call.

    Raises:
        ShardError: It is not a packed data set.
    """
    path = Path(path)
    PackInfo.load(path)
    found = Verification()
    for index in index_files(path):
        try:
            _check_shard(index, found, progress)
        except ShardError as error:
            found.damages.append(str(error))
    for pictures in sorted((path / "shards").glob("*.bin")):
        if not pictures.with_suffix(".index").exists():
            found.damages.append(
                f"{pictures}: without an index; its index was lost, or a packer was killed and "
                "packing again removes it"
            )
    found.damages += _lost_videos(path)
    found.damages += missing_parts(path)
    return found


def shard_bytes(path: str | os.PathLike[str]) -> int:
    """Return the bytes of all pictures in a data set, which `verify` has to read."""
    return sum(file.stat().st_size for file in (Path(path) / "shards").glob("*.bin"))


def _check_shard(index: Path, found: Verification, progress: Callable[[int], object]) -> None:
    records = read_index(index).records
    blobs = Blobs(index.with_suffix(".bin"))
    found.shards += 1
    bad = []
    for record, blob in _pictures(blobs, records.tolist()):
        progress(len(blob))
        if zlib.crc32(blob) == record[2]:
            found.frames += 1
        else:
            bad.append(record[4])
    if bad:
        found.damages.append(
            f"{blobs.path}: {len(bad)} of {len(records)} pictures are damaged or cut off, the "
            f"first is frame {bad[0]} of its clip"
        )


def _pictures(blobs: Blobs, records: list[tuple]) -> Iterator[tuple[tuple, bytes]]:
    """Yield each record (offset, length, checksum, clip, frame, ...) and the bytes there."""
    start, held = 0, b""
    for record in records:
        offset, length = record[:2]
        if not start <= offset <= offset + length <= start + len(held):
            start = offset
            end = min(offset + max(length, _MERGED), blobs.size)
            held = blobs.read(start, end - start) if start < end else b""
        yield record, held[offset - start : offset - start + length]


def _lost_videos(path: Path) -> Iterator[str]:
    """Return the videos of the manifest whose whole shard is missing."""
    if not (path / MANIFEST).exists():
        return
    there = packed_videos(path)
    with open(path / MANIFEST, newline="", encoding="utf-8", errors="surrogateescape") as file:
        for row in csv.DictReader(file):
            name, status = row.get("video"), row.get("status")
            if status in ("packed", "damaged") and name not in there:
                yield f"{path / MANIFEST}: video {name} was {status}, but no shard holds it"
