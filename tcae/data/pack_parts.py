"""Who writes to a packed data set: one packer alone, or one for each part of the sources."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tcae.files.durable import errors_naming, lock

_BEGUN, _DONE = b"begun\n", b"done\n"
_LOCK_NAME = re.compile(r"(\d+)of(\d+)\.lock")


@dataclass(frozen=True)
class Part:
    """A part of the sources, which one packer packs.

    Attributes:
        number: The part, from 1.
        count: How many parts there are.
    """

    number: int
    count: int

    @staticmethod
    def parse(text: str) -> Part:
        """Read "K/N".

        Raises:
            ValueError: It is no such text.
        """
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        if not match or not 1 <= int(match[1]) <= int(match[2]):
            raise ValueError(f"--part must be K/N with K from 1 to N, not {text}")
        return Part(int(match[1]), int(match[2]))

    @property
    def name(self) -> str:
        """Return what names of files tell of it."""
        return f"{self.number}of{self.count}"

    def holds(self, name: str) -> bool:
        """Return whether a video is in this part. It depends on the video's name alone."""
        digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.number - 1

    def lock_file(self, out: Path) -> Path:
        """Return the file that the part's packer and its workers lock."""
        return out / "shards" / f"{self.name}.lock"


WHOLE = Part(1, 1)


class Writer:
    """The right to write a part of a data set, while it is held.

    Args:
        out: The packed data set, with its `dataset.json`.
        part: The part. Packers of other parts of as many may write beside it.

    Raises:
        ValueError: Another packer writes the same part, or other parts of the set.
        OSError: The file system has no locks.
    """

    def __init__(self, out: Path, part: Part) -> None:
        self._out, self._part = out, part
        self._files = contextlib.ExitStack()
        refusal = f"{out}: another tcae.pack is writing to it"
        self.locks = (out / "dataset.json", part.lock_file(out))
        (out / "shards").mkdir(exist_ok=True)
        try:
            self._all = self._files.enter_context(open(self.locks[0], "rb"))  # noqa: SIM115
            lock(self._all.fileno(), refusal, shared=part != WHOLE)
            self._own = self._files.enter_context(open(self.locks[1], "a+b", buffering=0))  # noqa: SIM115
            lock(self._own.fileno(), refusal)
            self._check_others(refusal)
            self._note(_BEGUN)
            self._remove_leftovers()
        except BaseException:
            self._files.close()
            raise

    def share(self) -> None:
        """Let the worker processes hold the locks too. They may outlive this process."""
        for file in (self._all, self._own):
            fcntl.flock(file, fcntl.LOCK_SH)

    def finish(self) -> None:
        """Note that the part is packed. Once all is packed at once, no part is missing."""
        if self._part == WHOLE:
            for path, part in _parts(self._out):
                if part != WHOLE:
                    path.unlink()
        self._note(_DONE)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def _note(self, state: bytes) -> None:
        with errors_naming(self.locks[1]):
            self._own.truncate(0)
            self._own.write(state)

    def _check_others(self, refusal: str) -> None:
        for path, part in _parts(self._out):
            if part.count != self._part.count:
                with open(path, "a+b") as file:
                    lock(file.fileno(), f"{refusal}, part {part.number}/{part.count}")

    def _remove_leftovers(self) -> None:
        """Delete files of a killed run that nothing refers to."""
        names = "*" if self._part == WHOLE else f"*-{self._part.name}-*"
        shards = self._out / "shards"
        for path in shards.glob(f"{names}.tmp"):
            path.unlink()
        for path in shards.glob(f"{names}.bin"):
            if not path.with_suffix(".index").exists():
                path.unlink()


@contextlib.contextmanager
def one_at_a_time(out: Path) -> Iterator[None]:
    """Wait until no other packer writes the files that all share."""
    with open(out / "shards" / "common.lock", "a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def missing_parts(out: Path) -> Iterator[str]:
    """Return a line for each part of a data set that was not packed to its end.

    No part is missing if all parts of any one division are there.
    """
    done: dict[int, set[int]] = {}
    for path, part in _parts(out):
        if part != WHOLE:
            done.setdefault(part.count, set()).update([part.number] * _is_done(path, part))
        elif not _is_done(path, part):
            yield f"{out}: was not packed to its end; the same command again goes on"
    if any(len(numbers) == count for count, numbers in done.items()):
        return
    for count, numbers in sorted(done.items()):
        for number in sorted(set(range(1, count + 1)) - numbers):
            yield f"{out}: part {number}/{count} was not packed to its end"


def copy_states(source: Path, target: Path) -> None:
    """Copy which parts of a data set were packed to their ends. What is not done stays so."""
    for path, part in _parts(source):
        copy = part.lock_file(target)
        if not copy.exists() or not _is_done(path, part):
            shutil.copyfile(path, copy)


def _is_done(path: Path, part: Part) -> bool:
    """Return whether a part was packed to its end. Older packers noted nothing of a whole set."""
    state = path.read_bytes()
    return state == _DONE or (part == WHOLE and state != _BEGUN)


def _parts(out: Path) -> Iterator[tuple[Path, Part]]:
    for path in sorted((out / "shards").glob("*.lock")):
        if match := _LOCK_NAME.fullmatch(path.name):
            yield path, Part(int(match[1]), int(match[2]))
