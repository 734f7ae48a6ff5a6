"""A table of faces as ``tcae extract`` and its like write it, read to be shown."""

from __future__ import annotations

import csv
import io
import logging
import os
import re
from array import array
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from tcae.data.align import POINT_NAMES
from tcae.files.csv_text import open_table, separated

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]

KINDS = {"p": "probability", "score": "score", "r": "intensity", "c": "presence"}
"""What the end of a unit's column says, the most telling first."""


def largest(kind: str) -> int:
    """Return the largest value that a kind of column may have."""
    return 5 if kind == "r" else 1


_UNIT = re.compile(rf"(AU\d+)_({'|'.join(KINDS)})")
_BOX = tuple(f"face_{name}" for name in "xywh")
_POINTS = tuple(f"{name}_{axis}" for name in POINT_NAMES for axis in "xy")
_ANGLES = ("pitch", "yaw", "roll")
_READ = {"frame", "timestamp", "face_id", "success", "confidence", *_BOX, *_POINTS, *_ANGLES}
_MOST_TEXT = 8_000_000  # characters of a table that a page holds


@dataclass(frozen=True)
class Track:
    """One face of a video over time.

    Attributes:
        face: Its ``face_id``.
        frames: (M,) which of the table's frames show it, rising.
        rows: (M,) its row in each.
    """

    face: int
    frames: NDArray[np.intp]
    rows: NDArray[np.intp]


@dataclass(frozen=True)
class FaceTable:
    """The rows of a table that speak of one video or some pictures, one for each frame and face.

    Attributes:
        path: The table's file.
        files: The file of each row, one of those that were asked for.
        columns: (N,) numbers by the name of the column, NaN where a cell is empty. Only columns
            that can be shown: embeddings are left out.
        text: These rows as a CSV file with all columns; None if they are too many for a page.
    """

    path: Path
    files: Sequence[Path]
    columns: dict[str, Floats]
    text: str | None

    @cached_property
    def units(self) -> list[str]:
        """Return the names of the action units, such as ``AU12``, in the order of the table."""
        found = (match[1] for match in map(_UNIT.fullmatch, self.columns) if match)
        return list(dict.fromkeys(found))

    @cached_property
    def kinds(self) -> list[str]:
        """Return which of `KINDS` the table has; presence only if it has nothing else."""
        found = [kind for kind in KINDS if f"{self.units[0]}_{kind}" in self.columns]
        return [kind for kind in found if kind != "c"] or found

    @property
    def kind(self) -> str:
        """Return what is shown of a unit first."""
        return self.kinds[0]

    @property
    def full(self) -> int:
        """Return the largest of `values`."""
        return largest(self.kind)

    def values(self, unit: str, kind: str | None = None) -> Floats:
        """Return what is shown of a unit, (N,), from 0 to `largest`. NaN: not known."""
        return self._column(f"{unit}_{kind or self.kind}")

    def present(self, unit: str) -> NDArray[np.bool_]:
        """Return in which rows (N,) a unit is on: its ``_c`` is 1, without one its ``_p`` .5.

        Of intensities 1 is enough.
        """
        if f"{unit}_c" in self.columns:
            return self.columns[f"{unit}_c"] >= 0.5
        least = 1.0 if self.kind == "r" else 0.5
        return self.values(unit) >= least

    @property
    def rule(self) -> str:
        """Return when `present` takes a unit for on, in words."""
        if f"{self.units[0]}_c" in self.columns:
            return "its AUxx_c is 1"
        return f"its AUxx_{self.kind} is at least {1 if self.kind == 'r' else 0.5:g}"

    @property
    def scale(self) -> str:
        """Return what `values` are, in words."""
        return f"AUxx_{self.kind} ({KINDS[self.kind]}, 0 to {self.full})"

    @property
    def found(self) -> NDArray[np.bool_]:
        """Return which rows (N,) have a face."""
        known = ~np.isnan(self.columns["face_id"])
        return known & (self.columns["success"] != 0) if "success" in self.columns else known

    @property
    def boxes(self) -> Floats:
        """Return left, top, width and height (N, 4) of the faces in pixels, NaN if not known."""
        return np.stack([self._column(name) for name in _BOX], 1)

    @property
    def points(self) -> Floats:
        """Return the five points (N, 5, 2) of the faces in pixels, NaN if not known."""
        return np.stack([self._column(name) for name in _POINTS], 1).reshape(-1, 5, 2)

    @property
    def angles(self) -> dict[str, Floats]:
        """Return pitch, yaw and roll (N,) in degrees, as far as the table has them."""
        return {name: self.columns[name] for name in _ANGLES if name in self.columns}

    @cached_property
    def times(self) -> Floats:
        """Return the times (F,) in seconds of all frames in the table, with a face or without.

        Raises:
            ValueError: The times are not known.
        """
        times = self._column("timestamp")
        if np.isnan(times).any():
            raise ValueError(
                f"{self.path}: {np.isnan(times).sum()} of its {len(times)} rows have no "
                "'timestamp', which a table of a video needs"
            )
        return np.unique(times)

    def tracks(self) -> list[Track]:
        """Return the faces of a video, those in most frames first.

        Raises:
            ValueError: A face has two rows in one frame.
        """
        tracks = []
        place = np.searchsorted(self.times, self._column("timestamp"))
        for face in np.unique(self.columns["face_id"][self.found]):
            rows = np.flatnonzero(self.found & (self.columns["face_id"] == face))
            rows = rows[np.argsort(place[rows], kind="stable")]
            twice = np.flatnonzero(np.diff(place[rows]) == 0)
            if len(twice):
                when = self.times[place[rows[twice[0]]]]
                raise ValueError(
                    f"{self.path}: face {face:.0f} has two rows at {when:g} s; are two tables in "
                    "it, or several videos without a column 'video'?"
                )
            tracks.append(Track(int(face), place[rows], rows))
        return sorted(tracks, key=lambda track: -len(track.rows))

    def rows_of(self, file: Path) -> NDArray[np.intp]:
        """Return the rows of a picture that have a face."""
        mine = np.array([other == file for other in self.files], bool)
        return np.flatnonzero(mine & self.found)

    def _column(self, name: str) -> Floats:
        return self.columns.get(name, np.full(len(self.files), np.nan))


def read_face_table(path: Path, files: Collection[Path]) -> FaceTable:
    """Read the rows of a table that speak of a video, or of pictures.

    A row speaks of the file of the same name, unless its path leads to another file. A table
    without a column ``file`` or ``video``, such as OpenFace's, speaks of the only file.

    Args:
        path: The table, .csv or .parquet.
        files: The video, or the pictures.

    Raises:
        ValueError: It is no table of faces, or one of other files.
        OSError: It cannot be read.
    """
    reader = _Reader(path, files)
    with _parquet_as_csv(path) if path.suffix == ".parquet" else open_table(path) as text:
        lines, separator = separated(text, "face_id")
        cells = csv.reader(lines, delimiter=separator, skipinitialspace=True)
        try:
            reader.read_header([name.strip() for name in next(cells, [])])
            for row in cells:
                reader.read_row(cells.line_num, row)
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: cannot be read as a table ({error})") from None
    return reader.table()


def _parquet_as_csv(path: Path) -> TextIO:
    try:
        import pyarrow  # type: ignore[import-untyped]
        import pyarrow.csv  # type: ignore[import-untyped]
        import pyarrow.parquet  # type: ignore[import-untyped]
    except ImportError:
        raise ValueError(
            f"{path}: Parquet needs pyarrow: pip install 'tcae[parquet]', or use .csv"
        ) from None
    text = io.BytesIO()
    try:
        pyarrow.csv.write_csv(pyarrow.parquet.read_table(path), text)
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"{path}: cannot be read as a table ({error})") from None
    return io.StringIO(text.getvalue().decode())


class _Reader:
    """Takes the rows of a table one after the other."""

    def __init__(self, path: Path, files: Collection[Path]) -> None:
        self._path = path
        self._files = {file.name: file for file in files}
        self._only = next(iter(files)) if len(files) == 1 else None
        self._rows: list[Path] = []
        self._meant: dict[str, Path | None] = {}  # by the name in the table
        self._bad: tuple[int, str] | None = None
        self._bad_cells = 0
        self._text: io.StringIO | None = io.StringIO()

    def read_header(self, header: list[str]) -> None:
        """Look where the columns are that can be shown."""
        self._header = header
        wanted = [name for name in header if name in _READ or _UNIT.fullmatch(name)]
        missing = "" if "face_id" in wanted else "'face_id', which names the faces"
        if not any(map(_UNIT.fullmatch, wanted)):
            missing = "of an action unit, such as 'AU12_p'"
        if missing:
            raise ValueError(
                f"{self._path}: no column {missing}; a table of tcae analyse is needed"
            )
        self._places = [(header.index(name), array("d"), name) for name in wanted]
        self._name_places = [header.index(name) for name in ("file", "video") if name in header]
        if not self._name_places and self._only is None:
            raise ValueError(f"{self._path}: no column 'file', which names the picture of each row")
        self._write(header)

    def read_row(self, line: int, row: list[str]) -> None:
        """Take a row if it speaks of one of the files."""
        if not row:
            return
        if len(row) != len(self._header):
            raise ValueError(
                f"{self._path}, line {line}: {len(row)} cells, its header has {len(self._header)}"
            )
        name = next((row[place] for place in self._name_places if row[place]), "")
        if name not in self._meant:
            self._meant[name] = self._file_meant(name)
        file = self._meant[name]
        if file is None:
            return
        self._rows.append(file)
        for place, numbers, column in self._places:
            numbers.append(self._number(row[place], line, column))
        self._write(row)

    def _file_meant(self, name: str) -> Path | None:
        """Return which of the files a name in the table means, None if it is another one."""
        if not self._name_places:
            return self._only
        file = self._files.get(os.path.basename(name))
        if file is None or (os.path.exists(name) and not os.path.samefile(name, file)):
            return None
        for other, meant in self._meant.items():
            if meant == file:
                raise ValueError(
                    f"{self._path}: both {other} and {name} may be {file}; a table of one is needed"
                )
        return file

    def _number(self, cell: str, line: int, column: str) -> float:
        if not cell:
            return np.nan
        try:
            number = float(cell)
        except ValueError:
            raise ValueError(
                f"{self._path}, line {line}: {column} is {cell!r}, a number is needed"
            ) from None
        if np.isfinite(number):
            return number
        self._bad = self._bad or (line, column)
        self._bad_cells += 1
        return np.nan

    def _write(self, row: list[str]) -> None:
        if self._text is not None:
            csv.writer(self._text, lineterminator="\n").writerow(row)
            if self._text.tell() > _MOST_TEXT:
                self._text = None

    def table(self) -> FaceTable:
        """Return the rows that were taken."""
        if not self._rows:
            raise ValueError(f"{self._path}: {self._nothing()}")
        if self._bad is not None:
            log.warning(
                "%s: %d cells are no numbers (NaN or infinite), the first one in line %d, %s; they "
                "are shown as gaps",
                *(self._path, self._bad_cells, *self._bad),
            )
        columns = {name: np.asarray(numbers, float) for _, numbers, name in self._places}
        text = None if self._text is None else self._text.getvalue()
        return FaceTable(self._path, self._rows, columns, text)

    def _nothing(self) -> str:
        if not self._meant:
            return "it has no rows"
        first, *others = self._meant
        more = f" and {len(others)} others" if others else ""
        wanted = self._only or f"the {len(self._files)} pictures"
        return f"its rows are of {first}{more}, none is of {wanted}"
