"""Label tables: which action units are active in which packed frame."""

from __future__ import annotations

import csv
import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np
from numpy.typing import NDArray

from tcae.data.shards import PackedDataset
from tcae.files.csv_text import open_table, separated

log = logging.getLogger(__name__)

LABELS, FOLDS = "labels.csv", "folds.csv"
"""Files in a packed set: its label table, and the folds of its subjects."""

# Programs write whole numbers as 1.0 where another cell of the column is empty.
_CELLS = {"0": 0.0, "0.0": 0.0, "1": 1.0, "1.0": 1.0, "9": np.nan, "9.0": np.nan, "": np.nan}
_ALLOWED = "0, 1, or empty or 9 for unknown"
_DIGITS = 18  # of a frame's number at most, which fit into int64


@dataclass(frozen=True)
class LabelTable:
    """Labels of packed frames, sorted by frame.

    Attributes:
        names: The A action units, named as in the file's header.
        values: (n, A) float32: 0, 1, or NaN where unknown.
        subjects: Names of the n people, for folds that share no subject.
        frame_index: (n,) int64, each row's index into `dataset.frames`.
    """

    names: tuple[str, ...]
    values: NDArray[np.float32]
    subjects: tuple[str, ...]
    frame_index: NDArray[np.int64]


class _Row(NamedTuple):
    subject: str
    values: tuple[float, ...]
    line: int


def read_labels(path: str | os.PathLike[str], dataset: PackedDataset) -> LabelTable:
    """Read a label table and find its frames in a packed data set.

    The CSV file has the header `frame,subject,<one column per AU>`. The name of a frame is
    "video/track/number", as in `PackedDataset.name`, or "video/number" where only one of the
    video's tracks has that frame. A cell is 0, 1, or unknown (empty or 9), also as 0.0, 1.0 or
    9.0. Commas, semicolons or tabs separate the cells. A first column without a name, as pandas
    writes it, is left out. Rows of frames that are not packed, and repeated equal rows, are
    counted in one warning each.

    Args:
        path: The CSV file.
        dataset: The packed frames.

    Raises:
        ValueError: The file is malformed, contradicts itself or names no packed frame.
        OSError: The file cannot be read.
    """
    path = Path(path)
    finder = _FrameFinder(dataset)
    rows: dict[int, _Row] = {}
    missing: list[str] = []
    repeated: list[str] = []
    with _opened(path, dataset) as file:
        try:
            lines, separator = separated(file, "frame")
            reader = csv.reader(lines, delimiter=separator)
            unnamed, names = _header(path, next(reader, []))
            for cells in reader:
                if not any(cell.strip() for cell in cells):
                    continue
                name, row = _row(path, reader.line_num, names, cells, unnamed)
                frame = finder.find(f"{path}:{row.line}", name)
                if frame is None:
                    missing.append(name)
                elif frame in rows:
                    _check_repetition(path, name, rows[frame], row)
                    repeated.append(name)
                else:
                    rows[frame] = row
        except csv.Error as error:
            raise ValueError(f"{path}: not a CSV text file: {error}") from error
    if not rows:
        raise ValueError(
            f"{path}: none of its {len(missing)} frames is packed in {dataset.path}, "
            f"where the first is named {dataset.name(0)}"
        )
    if missing:
        log.warning(
            "%s: %d rows name frames that are not packed, as %s", path, len(missing), missing[0]
        )
    if repeated:
        log.warning("%s: %d rows repeat another row, as %s", path, len(repeated), repeated[0])
    frames = sorted(rows)
    return LabelTable(
        names,
        np.array([rows[i].values for i in frames], np.float32).reshape(len(frames), len(names)),
        tuple(rows[i].subject for i in frames),
        np.array(frames, np.int64),
    )


def read_intensities(path: Path, dataset: PackedDataset, labels: LabelTable) -> NDArray[np.float32]:
    """Read intensities of the action units of a label table.

    Args:
        path: A CSV file with a column `frame`, names of frames as in `PackedDataset.name`, and a
            column `AU01_r` for each action unit that has intensities, in [0, 1]. `truth.csv` of
            rendered people is one.
        dataset: The packed frames.
        labels: The labels of n of them.

    Returns:
        (n, A). Where the file has no number, the label, NaN where that is unknown.

    Raises:
        ValueError: A cell is no number in [0, 1], or nothing fits the labels.
        OSError: The file cannot be read.
    """
    row_of = {dataset.name(int(frame)): row for row, frame in enumerate(labels.frame_index)}
    values, found = labels.values.copy(), 0
    with open(path, newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        reader = csv.DictReader(file)
        for cells in reader:
            row = row_of.get(cells.get("frame") or "")
            for column, name in enumerate(labels.names):
                cell = (cells.get(f"{name}_r") or "").strip()
                if row is None or not cell:
                    continue
                values[row, column] = _intensity(f"{path}:{reader.line_num}: {name}_r", cell)
                found += 1
    if not found:
        raise ValueError(
            f"{path}: no intensity of a labelled frame in it; a column frame and columns as "
            f"{labels.names[0]}_r are needed"
        )
    return values


def _intensity(where: str, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = np.nan
    if not 0 <= value <= 1:
        raise ValueError(f"{where} holds {cell!r}; it must be a number in [0, 1]")
    return value


def _opened(path: Path, dataset: PackedDataset) -> TextIO:
    try:
        return open_table(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            error.errno,
            "No such file; a label table is a CSV file with the header frame,subject,AU01,AU02,... "
            f"and a row for each labelled frame: its name, such as {dataset.name(0)}, the person's "
            f"name, and {_ALLOWED} for each action unit",
            str(path),
        ) from None


def _header(path: Path, cells: list[str]) -> tuple[int, tuple[str, ...]]:
    """Return how many columns without a name come first (0 or 1), and the names of the labels."""
    _check_text(path, 1, cells)
    cells = [cell.strip() for cell in cells]
    unnamed = int(cells[:2] == ["", "frame"])
    if cells[unnamed:][:2] != ["frame", "subject"] or len(cells) < unnamed + 3:
        raise ValueError(
            f"{path}: its header must be frame,subject,<AU columns>, not {','.join(cells)!r}"
        )
    names = tuple(cells[unnamed + 2 :])
    if len(set(names)) < len(names) or not all(names):
        raise ValueError(f"{path}: empty or repeated column name in its header")
    return unnamed, names


def _check_text(path: Path, line: int, cells: list[str]) -> None:
    try:
        "".join(cells).encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"{path}: not a CSV text file: line {line} is not UTF-8; save it as such"
        ) from None


def _row(
    path: Path, line: int, names: tuple[str, ...], cells: list[str], unnamed: int
) -> tuple[str, _Row]:
    """Frame name and contents of one line."""
    width = unnamed + 2 + len(names)
    # The packer writes names of files byte for byte, whatever their encoding.
    _check_text(path, line, cells[unnamed + 2 :] if len(cells) == width else cells)
    if len(cells) != width:
        raise ValueError(f"{path}:{line}: {len(cells)} cells, the header has {width}")
    cells = [cell.strip() for cell in cells[unnamed:]]
    if not cells[0] or not cells[1]:
        raise ValueError(f"{path}:{line}: empty frame or subject")
    for name, cell in zip(names, cells[2:], strict=True):
        if cell not in _CELLS:
            raise ValueError(f"{path}:{line}: column {name} holds {cell!r}; it must be {_ALLOWED}")
    return cells[0], _Row(cells[1], tuple(_CELLS[cell] for cell in cells[2:]), line)


def _check_repetition(path: Path, name: str, first: _Row, second: _Row) -> None:
    same = first.subject == second.subject and np.array_equal(
        first.values, second.values, equal_nan=True
    )
    if not same:
        raise ValueError(
            f"{path}:{second.line}: frame {name} is labelled otherwise than on line {first.line}"
        )


class _FrameFinder:
    """Finds packed frames by name."""

    def __init__(self, dataset: PackedDataset) -> None:
        self._frames = dataset.frames["frame"]
        starts = dataset.clip_starts().tolist()
        self._spans: dict[str, list[tuple[int, int]]] = {}
        for clip, span in zip(dataset.clips, pairwise(starts), strict=True):
            for key in (clip.video, f"{clip.video}/{clip.track}"):
                self._spans.setdefault(key, []).append(span)

    def find(self, where: str, name: str) -> int | None:
        """Return the index of the frame, None if it is not packed.

        Raises:
            ValueError: Several frames have that name.
        """
        prefix, _, number = name.rpartition("/")
        if not prefix or not number.isdecimal() or len(number) > _DIGITS:
            raise ValueError(
                f"{where}: frame must be video/track/number or video/number, not {name!r}; a time "
                "cannot stand for the frame's number"
            )
        found = []
        for start, end in self._spans.get(prefix, []):
            place = start + int(np.searchsorted(self._frames[start:end], int(number)))
            if place < end and self._frames[place] == int(number):
                found.append(place)
        if len(found) > 1:
            raise ValueError(f"{where}: several tracks have frame {name}; name the track too")
        return found[0] if found else None


def select(labels: LabelTable, rows: NDArray[np.bool_]) -> LabelTable:
    """Return the rows of a label table for which ``rows`` (n,) is true."""
    kept = np.flatnonzero(rows)
    return replace(
        labels,
        values=labels.values[kept],
        subjects=tuple(labels.subjects[i] for i in kept),
        frame_index=labels.frame_index[kept],
    )


def unit_number(name: str) -> int:
    """Return the number in a column's name: 4 of "AU04", "au4" or "4".

    Raises:
        ValueError: It has none.
    """
    found = re.fullmatch(r"(?:au)?_?0*(\d+)", name.strip(), re.IGNORECASE)
    if found is None:
        raise ValueError(f"label column {name!r} is not called after an action unit, as AU04 is")
    return int(found[1])


def with_units(labels: LabelTable, wanted: Sequence[int]) -> LabelTable:
    """Return the columns of these action units, in this order.

    Raises:
        ValueError: One is not there.
    """
    have = {unit_number(name): column for column, name in enumerate(labels.names)}
    missing = [str(unit) for unit in wanted if unit not in have]
    if missing:
        raise ValueError(
            f"labels: AU {', '.join(missing)} is needed and not among {', '.join(labels.names)}"
        )
    columns = [have[unit] for unit in wanted]
    names = tuple(labels.names[column] for column in columns)
    return replace(labels, names=names, values=labels.values[:, columns])
