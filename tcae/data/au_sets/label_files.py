"""Label files of the data sets: the codes in their cells, tables of frames by action units."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_UNIT = re.compile(r"(?:AU)?[ _-]*0*(\d+)(?:[ _-]*(?:c|occ\w*))?", re.IGNORECASE)

_MOST_FRAMES = 10**18  # which fit into int64


class FrameLabels(NamedTuple):
    """Labels of one video.

    Attributes:
        frames: (n,) int64, numbers of the frames, ascending.
        values: (n, A) float32: 0, 1, or NaN where unknown.
    """

    frames: NDArray[np.int64]
    values: NDArray[np.float32]


@dataclass(frozen=True)
class Codes:
    """The meaning of the numbers in label files.

    Attributes:
        unknown: Numbers for an unknown label.
        highest: Largest other number; the smallest is 0.
        positive: The action unit counts as active from this number on.

    Raises:
        ValueError: A number from 0 to `highest` is in `unknown`.

    Example:
        >>> intensities = Codes(frozenset({9}), highest=5, positive=2)
        >>> [intensities.value(cell) for cell in ("1", "2", "9")]
        [0.0, 1.0, nan]
    """

    unknown: frozenset[int]
    highest: int
    positive: int

    def __post_init__(self) -> None:
        for code in sorted(self.unknown):
            if 0 <= code <= self.highest:
                raise ValueError(f"--unknown-codes: {code} is a label, not an unknown one")

    def value(self, cell: str) -> float:
        """Return 1 (active), 0 or NaN (unknown: an unknown code, an empty cell or "nan").

        Raises:
            ValueError: The cell holds anything else.
        """
        code = integer(cell)
        if code in self.unknown or cell.strip().lower() in ("", "nan"):
            return float("nan")
        if code is None or not 0 <= code <= self.highest:
            known = ", ".join(map(str, sorted(self.unknown)))
            raise ValueError(
                f"holds {cell!r}; it must be from 0 to {self.highest}, or empty or one of {known} "
                "for unknown (--unknown-codes)"
            )
        return float(code >= self.positive)


def integer(cell: str) -> int | None:
    """Return the whole number in a cell such as "12", " 0012" or "12.0", None if there is none."""
    try:
        number = float(cell)
    except ValueError:
        return None
    return int(number) if number.is_integer() else None


def unit_columns(header: list[str]) -> dict[int, list[int]]:
    """Return the columns of each action unit in a header ("1", "AU1", "au_01", "AU01_c" ...)."""
    columns: dict[int, list[int]] = {}
    for place, cell in enumerate(header):
        if match := _UNIT.fullmatch(cell):
            columns.setdefault(int(match[1]), []).append(place)
    return columns


def read_header(path: Path) -> list[str]:
    """Return the cells of the first line of a table that is not empty, [] if there is none.

    Raises:
        ValueError: The file is no text file.
        OSError: The file cannot be read.
    """
    return next((cells for _, cells in _lines(path)), [])


def read_table(path: Path, units: tuple[int, ...], codes: Codes) -> FrameLabels:
    """Read a table with one row per frame and one column per action unit.

    The frame column is the one whose header contains "frame", else the first. Other columns are
    left out.

    Args:
        path: The file, with comma, semicolon or tab between its cells.
        units: The action units to read.
        codes: The meaning of its cells.

    Raises:
        ValueError: A unit has no column or two, or a cell holds something else than a code. The
            message names file and line.
        OSError: The file cannot be read.
    """
    lines = _lines(path)
    header = next(lines, (0, []))[1]
    frame_column = next((i for i, cell in enumerate(header) if "frame" in cell.lower()), 0)
    found = unit_columns(["", *header[1:]] if frame_column == 0 else header)
    columns = []
    for unit in units:
        if len(found.get(unit, [])) != 1:
            there = ", ".join(header) or "nothing"
            raise ValueError(f"{path}: needs one column of AU {unit}; its header has {there}")
        columns.append(found[unit][0])
    rows: dict[int, tuple[float, ...]] = {}
    for line, cells in lines:
        if len(cells) < len(header):
            raise ValueError(f"{path}:{line}: {len(cells)} cells, its header has {len(header)}")
        try:
            row = tuple(codes.value(cells[column]) for column in columns)
            _add(rows, cells[frame_column], row)
        except ValueError as error:
            raise ValueError(f"{path}:{line}: {error}") from None
    return _sorted(rows, path, len(units))


def read_unit(path: Path, codes: Codes) -> dict[int, float]:
    """Read a file of one action unit, with a line `frame,code` per frame.

    Raises:
        ValueError: A line has another form. The message names file and line.
        OSError: The file cannot be read.
    """
    rows: dict[int, tuple[float, ...]] = {}
    for line, cells in _lines(path):
        if not rows and len(cells) == 2 and "frame" in cells[0].lower():
            continue  # a header, which the distributed files do not have
        try:
            if len(cells) != 2:
                raise ValueError(f"{len(cells)} cells; a frame and its intensity are needed")
            _add(rows, cells[0], (codes.value(cells[1]),))
        except ValueError as error:
            raise ValueError(f"{path}:{line}: {error}") from None
    if not rows:
        raise ValueError(f"{path}: holds no labels")
    return {frame: row[0] for frame, row in rows.items()}


def join_units(files: Mapping[Path, Mapping[int, float]]) -> FrameLabels:
    """Join the labels of several units' files, in their order. Missing lines are unknown labels.

    Raises:
        ValueError: The files do not begin with the same frame.
    """
    first = {path: min(labels) for path, labels in files.items()}
    low, high = min(first, key=first.__getitem__), max(first, key=first.__getitem__)
    if first[low] != first[high]:
        raise ValueError(
            f"{low} begins with frame {first[low]}, but {high} with frame {first[high]}"
        )
    unknown = float("nan")
    frames = sorted({frame for labels in files.values() for frame in labels})
    rows = {f: tuple(labels.get(f, unknown) for labels in files.values()) for f in frames}
    return _sorted(rows, low, len(files))


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield line numbers and stripped cells of all lines that are not empty."""
    with open(path, encoding="utf-8-sig") as file:
        try:
            blank, first = 0, next(file, "")
            while first and not first.strip():
                blank, first = blank + 1, next(file, "")
            rows = csv.reader(chain([first], file), delimiter=max(",;\t", key=first.count))
            for cells in rows:
                stripped = [cell.strip() for cell in cells]
                if any(stripped):
                    yield blank + rows.line_num, stripped
        except (UnicodeDecodeError, csv.Error) as error:
            raise ValueError(f"{path}: not a table in a text file: {error}") from error


def _add(rows: dict[int, tuple[float, ...]], cell: str, row: tuple[float, ...]) -> None:
    frame = integer(cell)
    if frame is None or not 0 <= frame < _MOST_FRAMES:
        raise ValueError(f"{cell!r} is no frame number")
    if frame in rows and not np.array_equal(rows[frame], row, equal_nan=True):
        raise ValueError(f"frame {frame} is labelled otherwise on an earlier line")
    rows[frame] = row


def _sorted(rows: Mapping[int, tuple[float, ...]], path: Path, width: int) -> FrameLabels:
    if not rows:
        raise ValueError(f"{path}: holds no labels")
    frames = sorted(rows)
    values = np.array([rows[frame] for frame in frames], np.float32).reshape(-1, width)
    return FrameLabels(np.array(frames, np.int64), values)
