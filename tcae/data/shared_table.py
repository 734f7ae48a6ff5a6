"""The table of frames as a file that all processes of a machine have in memory once.

It holds nothing that is not in the shards, so it may be deleted at any time. It lies beside them
or, where nothing can be written there, in the machine's folder of temporary files.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import struct
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcae.data.clip_table import ClipTable
from tcae.data.frame_table import ENTRY, FrameTable, read_shards
from tcae.data.remote import remote_pictures
from tcae.data.shard_files import ShardError, index_files, index_head, most_frames
from tcae.files.durable import one_at_a_time

TABLE_FILE = "frames.table"
"""Name of the file in a packed data set."""

_WORTH_A_FILE = 100_000  # frames: 5 MB
_MAGIC = b"TCAEFRT1"
_HEADER = struct.Struct("<8sII")  # magic, crc32 of all that follows, bytes of JSON
_ALIGNMENT = 8
_ARRAYS: dict[str, Any] = {
    "frames": ENTRY,
    **{f"{kind}_ends": "<u8" for kind in ("identity", "video", "track")},
    **{name: "<u4" for name in ("person_starts", "video_starts", "track_numbers")},
    **{f"{kind}_text": "u1" for kind in ("identity", "video", "track")},
}

State = list[list[Any]]
"""Of each shard its name, the head of its index, and the sizes of its files."""


class _Shared(FrameTable):
    """A table in a file. A process to which it is sent maps the file, too."""

    place: Path
    state: State

    def __reduce__(self) -> tuple[Any, ...]:
        return _mapped_again, (self.place, self.state)


def open_frame_table(path: Path) -> FrameTable:
    """Return the table of a packed data set, in memory that is shared if it is large.

    The first process to open a large set writes the file, others wait for it. A set with damaged
    shards is read anew every time.
    """
    state, frames = _state_of(path)
    if frames < _WORTH_A_FILE:
        return read_shards(path)
    places = [path / TABLE_FILE, *_place_of_this_machine(path)]
    mapped = _first_mapped(places, state)
    if mapped is not None:
        return mapped
    with one_at_a_time(path / "shards"):
        mapped = _first_mapped(places, state)
        if mapped is not None:
            return mapped
        table = read_shards(path)
        # A packer may have added a shard since.
        if not table.failures and [*table.shards] == [row[0] for row in state]:
            for place in places:
                with contextlib.suppress(OSError):  # a read-only or full disk
                    _write(place, table, state)
                    return _mapped(place, state) or table
        return table


def share_frame_table(path: Path) -> None:
    """Write the file of a large data set, so that nobody waits for it who opens the set."""
    if _state_of(path)[1] >= _WORTH_A_FILE:
        open_frame_table(path)


def _state_of(path: Path) -> tuple[State, int]:
    """Return what the shards of a data set are, and how many frames they hold at most.

    A head holds the checksum of its index. So whatever is in a shard's index shows in its head.
    """
    state, frames, remote = [], 0, remote_pictures(path) is not None
    for index in index_files(path):
        try:
            head = index_head(index)
            sizes = [index.stat().st_size]
            if not remote:
                sizes.append(index.with_suffix(".bin").stat().st_size)
        except OSError:
            return [], 0
        state.append([index.stem, head.hex(), *sizes])
        frames += most_frames(index)
    return state, frames


def _place_of_this_machine(path: Path) -> Iterator[Path]:
    """Return the file in a folder that is this user's alone."""
    folder = Path(tempfile.gettempdir()) / f"tcae-{os.getuid()}"
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.lstat().st_uid == os.getuid() and not folder.is_symlink():
            yield folder / f"{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()}.table"


def _write(place: Path, table: FrameTable, state: State) -> None:
    """Write the file. It needs no care for crashes, because its checksum is compared."""
    arrays = {"frames": table.frames, **table.clips.arrays}
    lengths = {name: len(arrays[name]) for name in _ARRAYS}
    text = json.dumps({"state": state, "lengths": lengths}).encode()
    for leftover in place.parent.glob(f"{place.name}-*.tmp"):  # of a process that was killed
        leftover.unlink()
    handle, name = tempfile.mkstemp(prefix=f"{place.name}-", suffix=".tmp", dir=place.parent)
    try:
        with open(handle, "wb") as file:
            file.write(_HEADER.pack(_MAGIC, 0, len(text)))
            checksum = 0
            for part in (memoryview(text), *(_bytes(arrays[name]) for name in _ARRAYS)):
                for piece in (part, bytes(-file.tell() - len(part) & (_ALIGNMENT - 1))):
                    file.write(piece)
                    checksum = zlib.crc32(piece, checksum)
            file.seek(0)
            file.write(_HEADER.pack(_MAGIC, checksum, len(text)))
        os.chmod(name, 0o644)
        os.replace(name, place)
    except BaseException:
        os.unlink(name)
        raise


def _bytes(array: NDArray[Any]) -> memoryview:
    return np.ascontiguousarray(array).view(np.uint8).data


def _first_mapped(places: list[Path], state: State) -> FrameTable | None:
    return next((table for place in places if (table := _mapped(place, state)) is not None), None)


def _mapped(place: Path, state: State) -> FrameTable | None:
    """Return the table in a file. None unless it is whole and that of these shards."""
    try:
        with open(place, "rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        magic, checksum, length = _HEADER.unpack_from(content)
        if magic != _MAGIC or zlib.crc32(memoryview(content)[_HEADER.size :]) != checksum:
            return None
        described = json.loads(content[_HEADER.size : _HEADER.size + length])
        if described["state"] != state:
            return None
        arrays = _arrays(content, _HEADER.size + length, described["lengths"])
    except (OSError, ValueError, KeyError, TypeError, struct.error):
        return None
    table = _Shared(tuple(row[0] for row in state), ClipTable(arrays), arrays["frames"])
    table.place, table.state = place, state
    return table


def _mapped_again(place: Path, state: State) -> FrameTable:
    table = _mapped(place, state)
    if table is None:
        raise ShardError(f"{place}: was changed or removed while it was used")
    return table


def _arrays(content: mmap.mmap, place: int, lengths: dict[str, int]) -> dict[str, NDArray[Any]]:
    arrays = {}
    for name, kind in _ARRAYS.items():
        place += -place & (_ALIGNMENT - 1)
        arrays[name] = np.frombuffer(content, kind, lengths[name], place)
        place += arrays[name].nbytes
    return arrays
