"""Blocks of remote files on this machine's disk, not more than a number of bytes.

Blocks that nobody read for the longest time go first. All processes of a machine share them, and no
lock is needed: a block is written under another name, and one that has gone is fetched again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

BLOCK = 2**20
"""Bytes of a block, enough for the pictures of most clips. The last one of a file has fewer."""

_OFTEN = 64  # blocks after whose writing a process looks whether there are too many
_ROOM = 0.9  # of the limit is left when there were too many

Fetch = Callable[[Sequence[tuple[str, int]]], Iterable[bytes]]
"""Takes files and numbers of blocks, and returns the contents of these blocks."""


class BlockCache:
    """The blocks of remote files.

    Args:
        folder: Where they lie. It is created if needed.
        limit: Most bytes in the folder. It may hold `_OFTEN` blocks more for each process.
        fetch: Brings blocks.
    """

    def __init__(self, folder: Path, limit: float, fetch: Fetch) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._limit, self._fetch = folder, limit, fetch
        self._written = _OFTEN  # since this process looked how many there are

    def read(self, file: str, offset: int, length: int) -> bytes:
        """Return the bytes at a place, fewer where the file ends."""
        pieces, end = [], offset + length
        for block in _blocks(offset, length):
            start = block * BLOCK
            span = max(offset - start, 0), min(end - start, BLOCK)
            piece = self._cached(file, block, *span)
            if piece is None:
                (content,) = self._fetched([(file, block)])
                piece = content[slice(*span)]
            pieces.append(piece)
        return b"".join(pieces)

    def prefetch(self, places: Iterable[tuple[str, int, int]]) -> None:
        """Fetch what is not there of some places, given by file, offset and length, together."""
        wanted = {(file, n) for file, at, length in places for n in _blocks(at, length)}
        missing = [key for key in sorted(wanted) if not self._path(*key).exists()]
        if missing:
            self._fetched(missing)

    def forget(self, file: str, offset: int, length: int) -> None:
        """Remove what is cached of a place."""
        for block in _blocks(offset, length):
            self._path(file, block).unlink(missing_ok=True)

    def _path(self, file: str, block: int) -> Path:
        return self._folder / f"{hashlib.sha256(file.encode()).hexdigest()[:32]}-{block}"

    def _cached(self, file: str, block: int, start: int, end: int) -> bytes | None:
        try:
            handle = os.open(self._path(file, block), os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            os.utime(handle)  # it was read now
            return os.pread(handle, end - start, start)
        finally:
            os.close(handle)

    def _fetched(self, keys: Sequence[tuple[str, int]]) -> list[bytes]:
        contents = [*self._fetch(keys)]
        for key, content in zip(keys, contents, strict=True):
            self._write(self._path(*key), content)
        return contents

    def _write(self, path: Path, content: bytes) -> None:
        part = path.with_name(f".{path.name}-{os.getpid()}")
        try:
            part.write_bytes(content)
            os.replace(part, path)
        except OSError:  # a full disk: the block is used without being kept
            part.unlink(missing_ok=True)
        self._written += 1
        if self._written >= _OFTEN:
            self._written = 0
            self._trim()

    def _trim(self) -> None:
        found = []
        for entry in os.scandir(self._folder):
            with contextlib.suppress(FileNotFoundError):  # another process has removed it
                seen = entry.stat()
                found.append((seen.st_mtime_ns, seen.st_size, entry.path))
        total = sum(size for _, size, _ in found)
        if total <= self._limit:
            return
        for _, size, path in sorted(found):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            total -= size
            if total <= _ROOM * self._limit:
                return


def _blocks(offset: int, length: int) -> range:
    return range(offset // BLOCK, (offset + max(length, 1) - 1) // BLOCK + 1)
