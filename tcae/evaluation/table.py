"""Tables as CSV or Parquet, written row by row, that appear only when they are complete."""

from __future__ import annotations

import contextlib
import csv
import json
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, Protocol

from tcae.files.durable import errors_naming

Kind = Literal["text", "int", "time", "real"]
Row = Sequence[Any]

_PARQUET_TYPES = {"text": "string", "int": "int64", "time": "float64", "real": "float32"}
_ROW_GROUP = 4096


class Column(NamedTuple):
    """Name and kind of a column: text, int, time (float64, in s) or real (float32)."""

    name: str
    kind: Kind


class _Format(Protocol):
    def write(self, rows: Sequence[Row]) -> None: ...

    def close(self) -> None: ...


class TableWriter:
    """A table that rows are written to, ``.csv`` or ``.parquet`` by the ending of its name.

    Rows go to a hidden file beside the table. It takes the table's name at the end of the ``with``
    block. After an error or Ctrl-C in the block the hidden file is removed, and an earlier table of
    that name is untouched. Memory does not grow with the number of rows.

    Args:
        path: The table.
        columns: Its columns.

    Raises:
        ValueError: Another ending, or Parquet without pyarrow.

    Example:
        >>> with TableWriter(Path("a.csv"), [Column("frame", "int")]) as table:  # doctest: +SKIP
        ...     table.write([[0], [1]])
    """

    def __init__(self, path: Path, columns: Sequence[Column]) -> None:
        check_table_path(path)
        self._path = path
        self._partial = path.with_name(f".{path.name}.partial")
        path.parent.mkdir(parents=True, exist_ok=True)
        make = _Csv if path.suffix == ".csv" else _Parquet
        self._format: _Format = make(self._partial, columns)
        self.rows = 0

    def write(self, rows: Sequence[Row]) -> None:
        """Append rows; None is a missing value.

        Raises:
            OSError: For example the disk is full. The error names the table.
        """
        with errors_naming(self._path):
            self._format.write(rows)
        self.rows += len(rows)

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
                with errors_naming(self._path):
                    self._format.close()
                os.replace(self._partial, self._path)
            else:
                with contextlib.suppress(OSError):
                    self._format.close()
        finally:
            self._partial.unlink(missing_ok=True)


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
    """Missing cells are empty; reals have 7 significant digits, times 4 decimals.

    Names of files are written byte for byte.
    """

    def __init__(self, path: Path, columns: Sequence[Column]) -> None:
        formats = {"text": "{}", "int": "{}", "time": "{:.4f}", "real": "{:.7g}"}
        self._formats = [formats[column.kind].format for column in columns]
        self._file = open(  # noqa: SIM115
            path, "w", newline="", encoding="utf-8", errors="surrogateescape"
        )
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow([column.name for column in columns])

    def write(self, rows: Sequence[Row]) -> None:
        self._writer.writerows(
            [
                "" if value is None else form(value)
                for form, value in zip(self._formats, row, strict=True)
            ]
            for row in rows
        )

    def close(self) -> None:
        with self._file:
            self._file.flush()
            os.fsync(self._file.fileno())


def _pandas_types(columns: Sequence[Column]) -> dict[str, Any]:
    """Metadata by which pandas reads whole numbers as such; by itself it makes floats of gaps."""
    names = [column.name for column in columns if column.kind == "int"]
    common = {"pandas_type": "int64", "numpy_type": "Int64", "metadata": None}
    types = [{"name": name, "field_name": name, **common} for name in names]
    return {"index_columns": [], "column_indexes": [], "columns": types}


def _escaped(text: str | None) -> str | None:
    if text is None:
        return None
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


class _Parquet:
    r"""Missing cells are null; rows are written in groups of some thousand.

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
        self._texts = [column.kind == "text" for column in columns]
        self._writer = pyarrow.parquet.ParquetWriter(path, self._schema)
        self._batches: list[Any] = []

    def write(self, rows: Sequence[Row]) -> None:
        if rows:
            arrays = [
                self._arrow.array(map(_escaped, values) if text else values, field.type)
                for values, field, text in zip(
                    zip(*rows, strict=True), self._schema, self._texts, strict=True
                )
            ]
            batch = self._arrow.RecordBatch.from_arrays(arrays, schema=self._schema)
            self._batches.append(batch)
        if sum(len(batch) for batch in self._batches) >= _ROW_GROUP:
            self._flush()

    def close(self) -> None:
        try:
            self._flush()
        finally:
            self._writer.close()

    def _flush(self) -> None:
        batches, self._batches = self._batches, []
        table = self._arrow.Table.from_batches(batches, self._schema)
        if len(table):
            self._writer.write_table(table)
