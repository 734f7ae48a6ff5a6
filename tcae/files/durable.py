"""Files with one writer that are whole after any crash: either the old content or the new one."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import io
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

_LOCK_SECONDS = 20.0


def write_durably(path: Path, content: bytes) -> None:
    """Replace the content of a file. After a crash it is the old file or the new one.

    Raises:
        OSError: For example the disk is full. The error names `path`, which is as it was.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise OSError(error.errno, error.strerror, str(path)) from error
    _sync_directory(path.parent)


def write_csv(path: Path, rows: Iterable[Iterable[object]]) -> None:
    """Replace a file by a table, as `write_durably` does. Names of files may be in any encoding.

    Raises:
        OSError: See `write_durably`.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_durably(path, text.getvalue().encode("utf-8", "surrogateescape"))


@contextlib.contextmanager
def errors_naming(path: Path) -> Iterator[None]:
    """Give errors of an open file, which do not know its name, the name of the file.

    Raises:
        OSError: The error that came, naming `path`.
    """
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None


def lock(handle: int, refusal: str, *, shared: bool = False) -> None:
    """Lock an open file or directory until this process and its forks close it.

    The workers of a killed process end some seconds after it, so the lock is tried for a while.
    Several processes may hold a shared lock.

    Raises:
        ValueError: Another process holds the lock. The message is `refusal`.
        OSError: The file system has no locks.
    """
    deadline = time.monotonic() + _LOCK_SECONDS
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    while True:
        try:
            return fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise ValueError(refusal) from None
            time.sleep(0.1)


@contextlib.contextmanager
def one_at_a_time(directory: Path) -> Iterator[None]:
    """Wait until no other process is in such a block for the same directory.

    Where the file system has no locks, as network ones may, nobody waits.
    """
    handle = os.open(directory, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _sync_directory(path: Path) -> None:
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
