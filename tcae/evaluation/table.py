"""Tables as CSV or Parquet, written line by line, that appear only when they are complete."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, Protocol

from tcae.files.durable import errors_naming, lock, write_durably
from tcae.files.plain import differences

Kind = Literal["text", "int", "time", "real"]
Row = Sequence[Any]

_PARQUET_TYPES = {"text": "string", "int": "int64", "time": "float64", "real": "float32"}
_ROW_GROUP = 4096
_MARK_SECONDS = 5.0  # at most this much work, and a batch, is lost in a crash


class Column(NamedTuple):
    """Name and kind of a column: text, int, time (float64, in s) or real (float32)."""

    name: str
    kind: Kind


class Finish(Protocol):
    """Makes the rows of a table from those that were written, when all of them are there."""

    @property
    def columns(self) -> Sequence[Column]:
        """Return the columns of the rows that it makes."""
        ...

    def __call__(self, read: Callable[[], Iterator[Row]]) -> Iterator[Row]:
        """Yield the rows; each call of `read` reads those that were written once more."""
        ...


class TableWriter:
    """A table that rows are written to, ``.csv`` or ``.parquet`` by the ending of its name.

    Rows go line by line to ``NAME.partial``, a CSV file. It becomes the table at the end of the
    ``with`` block, and an earlier table of that name is untouched until then. If the block ends
    otherwise, or the process is killed, the rows up to the last `mark` can be gone on with. A block
    that wrote none leaves nothing. Memory does not grow with the number of rows.

    Args:
        path: The table.
        columns: Its columns.
        settings: What the rows depend on, as JSON can hold it. Who goes on must have the same.
        resume: Go on with the rows of a table that was not finished, if there are some.
        finish: Makes the rows of the table. None: they are those that were written.

    Attributes:
        rows: Number of rows so far.
        position: What the last `mark` was given, None in a new table.

    Raises:
        ValueError: Another ending, or Parquet without pyarrow. Another process writes the table. Or
            the unfinished table was made with other settings.

    Example:
        >>> with TableWriter(Path("a.csv"), [Column("frame", "int")]) as table:  # doctest: +SKIP
        ...     table.write([[0], [1]])
    """

    def __init__(
        self,
        path: Path,
        columns: Sequence[Column],
        settings: Mapping[str, Any] | None = None,
        resume: bool = False,
        finish: Finish | None = None,
    ) -> None:
        check_table_path(path)
        self._path, self._partial, self._marks = path, partial_table(path), _marks(path)
        self._columns, self._finisher = columns, finish
        self._settings = json.loads(json.dumps(settings or {}))
        path.parent.mkdir(parents=True, exist_ok=True)
        self._exact = path.suffix == ".parquet"
        self._format = _Csv(self._partial, columns, self._exact or finish is not None)
        try:
            self._mark = self._last_mark() if resume else None
        except BaseException:
            self._format.close()
            raise
        mark = self._mark or {"bytes": None, "rows": 0, "position": None}
        if self._mark is None:
            self._marks.unlink(missing_ok=True)  # it speaks of rows that are overwritten now
        self._format.begin(mark["bytes"])
        self.rows: int = mark["rows"]
        self.position: Any = mark["position"]
        self._saved = time.monotonic()

    def write(self, rows: Sequence[Row]) -> None:
        """Append rows; None is a missing value.

        Raises:
            OSError: For example the disk is full. The error names the table.
        """
        with errors_naming(self._path):
            self._format.write(rows)
        self.rows += len(rows)

    @property
    def kept(self) -> int:
        """Return how many rows somebody can go on with if it ends now."""
        return 0 if self._mark is None else int(self._mark["rows"])

    def mark(self, position: Any) -> None:
        """Say where to go on after the rows written so far: anything JSON can hold.

        It is on the disk some seconds later, or when the ``with`` block ends.
        """
        self.position = position
        with errors_naming(self._path):
            size = self._format.size()
        self._mark = {"bytes": size, "rows": self.rows, "position": position}
        if time.monotonic() - self._saved > _MARK_SECONDS:
            self._save_mark()

    def _save_mark(self) -> None:
        with errors_naming(self._path):
            self._format.sync()
        columns = [column.name for column in self._columns]
        content = {"settings": self._settings, "columns": columns, "mark": self._mark}
        write_durably(self._marks, json.dumps(content).encode())
        self._saved = time.monotonic()

    def _last_mark(self) -> dict[str, Any] | None:
        """Return the last mark of the unfinished table, None if there is none."""
        if not self._marks.exists():
            return None
        content = json.loads(self._marks.read_bytes())
        mark: dict[str, Any] = content["mark"]
        if self._format.size() < mark["bytes"]:  # it is gone, and was opened anew
            return None
        advice = "give the options and inputs of that run, or --overwrite"
        for name, (old, new) in differences(content["settings"], self._settings).items():
            raise ValueError(f"{self._partial}: was written with {name} {old}, not {new}; {advice}")
        if content["columns"] != [column.name for column in self._columns]:
            raise ValueError(f"{self._partial}: has other columns; {advice}")
        return mark

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._finish()
            else:
                self._leave()
        except BaseException:
            self._leave()
            raise
        finally:
            with contextlib.suppress(OSError):  # what has to be on the disk is there
                self._format.close()

    def _leave(self) -> None:
        """Keep what a later process can go on with."""
        with contextlib.suppress(OSError):  # the mark before is there and still right
            if self.kept:
                self._save_mark()
            else:
                self._partial.unlink(missing_ok=True)
                self._marks.unlink(missing_ok=True)

    def _finish(self) -> None:
        """Make the table of the partial one."""
        finished = self._path.with_name(f"{self._path.name}.finished")
        with errors_naming(self._path):
            self._format.sync()
            rows, columns = self._partial, self._columns
            try:
                if self._finisher is not None:
                    rows, columns = finished, self._finisher.columns
                    self._rewrite(self._finisher, finished)
                self._place(rows, columns)
            finally:
                finished.unlink(missing_ok=True)
            self._partial.unlink(missing_ok=True)
            self._marks.unlink(missing_ok=True)

    def _rewrite(self, finish: Finish, path: Path) -> None:
        """Write the rows that `finish` makes to a CSV file."""
        rows = finish(lambda: _read(self._partial, self._columns))
        file = _Csv(path, finish.columns, self._exact)
        try:
            file.begin(None)
            while batch := list(islice(rows, _ROW_GROUP)):
                file.write(batch)
            file.sync()
        finally:
            file.close()

    def _place(self, rows: Path, columns: Sequence[Column]) -> None:
        """Make the table of a CSV file that is complete."""
        if not self._exact:
            os.replace(rows, self._path)
            return
        temporary = self._path.with_name(f"{self._path.name}.tmp")
        try:
            _to_parquet(rows, temporary, columns)
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, self._path)
        finally:
            temporary.unlink(missing_ok=True)


def partial_table(path: Path) -> Path:
    """Return where the rows of a table are until it is finished."""
    return path.with_name(f"{path.name}.partial")


def _marks(path: Path) -> Path:
    return path.with_name(f"{path.name}.partial.json")


def check_table_path(path: Path) -> None:
    """Refuse a name under which no table can be written, before any work is done.

    Raises:
        ValueError: Neither .csv nor .parquet; or Parquet without pyarrow.
    """
    if path.suffix not in (".csv", ".parquet"):
        raise ValueError(f"--out {path}: its name must end in .csv or .parquet")
    if path.suffix == ".parquet":
        try:
            import pyarrow.parquet  # type: ignore[import-untyped]  # noqa: F401
        except ImportError:
            raise ValueError(
                f"--out {path}: Parquet needs pyarrow: pip install 'tcae[parquet]', or use .csv"
            ) from None


class _Csv:
    """A CSV file that grows line by line, locked against other processes.

    Missing cells are empty; reals have 7 significant digits, times 4 decimals. If it is `exact`,
    both have as many as they need. Names of files are written byte for byte.
    """

    def __init__(self, path: Path, columns: Sequence[Column], exact: bool = False) -> None:
        time_, real = ("{!r}", "{:.9g}") if exact else ("{:.4f}", "{:.7g}")
        formats = {"text": "{}", "int": "{}", "time": time_, "real": real}
        self._columns = columns
        self._formats = [formats[column.kind].format for column in columns]
        self._file = open(  # noqa: SIM115
            path, "a", newline="", encoding="utf-8", errors="surrogateescape"
        )
        try:
            self._lock(path)
        except BaseException:
            self._file.close()
            raise
        self._writer = csv.writer(self._file, lineterminator="\n")

    def _lock(self, path: Path) -> None:
        refusal = f"{path}: another process is writing to it"
        lock(self._file.fileno(), refusal)
        # That process may have finished while we waited: what we hold is its table now.
        if not path.exists() or not os.path.samestat(path.stat(), os.fstat(self._file.fileno())):
            raise ValueError(refusal)

    def begin(self, size: int | None) -> None:
        """Keep the first bytes of an earlier file, or begin a new one with its header."""
        self._file.truncate(size or 0)
        if size is None:
            self._writer.writerow([column.name for column in self._columns])

    def write(self, rows: Sequence[Row]) -> None:
        self._writer.writerows(
            [
                "" if value is None else form(value)
                for form, value in zip(self._formats, row, strict=True)
            ]
            for row in rows
        )
        self._file.flush()

    def size(self) -> int:
        self._file.flush()
        return os.fstat(self._file.fileno()).st_size

    def sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


_PARSERS: dict[Kind, Callable[[str], Any]] = {"text": str, "int": int, "time": float, "real": float}


def _read(path: Path, columns: Sequence[Column]) -> Iterator[Row]:
    """Yield the rows of a CSV table."""
    parsers = [_PARSERS[column.kind] for column in columns]
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        lines = csv.reader(file)
        next(lines)
        for cells in lines:
            yield [
                parse(cell) if cell else None for parse, cell in zip(parsers, cells, strict=True)
            ]


def _to_parquet(partial: Path, path: Path, columns: Sequence[Column]) -> None:
    """Make a Parquet table of an exact CSV one, a row group after the other."""
    parsers = {**_PARSERS, "text": _escaped}
    read = [parsers[column.kind] for column in columns]
    table = _Parquet(path, columns)
    with open(partial, newline="", encoding="utf-8", errors="surrogateescape") as file:
        lines = csv.reader(file)
        next(lines)
        try:
            while batch := list(islice(lines, _ROW_GROUP)):
                columns_of = zip(*batch, strict=True)
                table.write(
                    [parse(cell) if cell else None for cell in cells]
                    for parse, cells in zip(read, columns_of, strict=True)
                )
        finally:
            table.close()


def _pandas_types(columns: Sequence[Column]) -> dict[str, Any]:
    """Metadata by which pandas reads whole numbers as such; by itself it makes floats of gaps."""
    names = [column.name for column in columns if column.kind == "int"]
    common = {"pandas_type": "int64", "numpy_type": "Int64", "metadata": None}
    types = [{"name": name, "field_name": name, **common} for name in names]
    return {"index_columns": [], "column_indexes": [], "columns": types}


def _escaped(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


class _Parquet:
    r"""Missing cells are null. Every call writes a row group.

    Its text is UTF-8. Other bytes in the names of files are escaped, such as \xe9.
    """

    def __init__(self, path: Path, columns: Sequence[Column]) -> None:
        import pyarrow
        import pyarrow.parquet

        self._arrow = pyarrow
        self._schema = pyarrow.schema(
            [(column.name, getattr(pyarrow, _PARQUET_TYPES[column.kind])()) for column in columns],
            {"pandas": json.dumps(_pandas_types(columns))},
        )
        self._writer = pyarrow.parquet.ParquetWriter(path, self._schema)

    def write(self, columns: Iterable[Sequence[Any]]) -> None:
        """Write a row group, given by its columns."""
        arrays = [
            self._arrow.array(values, field.type)
            for values, field in zip(columns, self._schema, strict=True)
        ]
        self._writer.write_table(self._arrow.Table.from_arrays(arrays, schema=self._schema))

    def close(self) -> None:
        self._writer.close()
