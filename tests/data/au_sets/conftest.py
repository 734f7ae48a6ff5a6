from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Function that writes lines into a file below the test's folder, as bytes, CRLF if asked."""

    def write_lines(
        name: str, lines: Iterable[str], end: str = "\n", encoding: str = "utf-8"
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes("".join(line + end for line in lines).encode(encoding))
        return path

    return write_lines


@pytest.fixture
def touch(tmp_path: Path) -> Callable[..., None]:
    """Function that makes files of which only the names matter: readers do not open pictures."""

    def touch_files(folder: str, names: Iterable[str]) -> None:
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for name in names:
            (tmp_path / folder / name).write_bytes(b"x")

    return touch_files
