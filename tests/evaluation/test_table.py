from __future__ import annotations

import csv
import errno
import os
import sys
from pathlib import Path

import pytest

from tcae.evaluation.table import Column, TableWriter, check_table_path

COLUMNS = (
    Column("video", "text"),
    Column("frame", "int"),
    Column("timestamp", "time"),
    Column("au_000", "real"),
)
ROWS = [
    ["a, b.mp4", 0, 0.0, -1.25],
    ["a, b.mp4", 1, 7200.03337, None],
    ["ü.mp4", 2**40, None, 1 / 3],
]


def write(path: Path, rows, batch: int = 2) -> None:
    with TableWriter(path, COLUMNS) as table:
        for start in range(0, len(rows), batch):
            table.write(rows[start : start + batch])
        assert table.rows == len(rows)


def test_csv(tmp_path):
    write(tmp_path / "deep" / "t.csv", ROWS)
    with open(tmp_path / "deep" / "t.csv", newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [
            ["video", "frame", "timestamp", "au_000"],
            ["a, b.mp4", "0", "0.0000", "-1.25"],
            ["a, b.mp4", "1", "7200.0334", ""],
            ["ü.mp4", "1099511627776", "", "0.3333333"],
        ]


def test_parquet(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    write(tmp_path / "t.parquet", ROWS)
    table = parquet.read_table(tmp_path / "t.parquet")
    assert [str(t) for t in table.schema.types] == ["string", "int64", "double", "float"]
    rows = [list(row.values()) for row in table.to_pylist()]
    assert rows[:2] == ROWS[:2] and rows[2][:3] == ROWS[2][:3]
    assert rows[2][3] == pytest.approx(1 / 3, rel=1e-7)


NAMES = [b"caf\xe9.mp4", "zo\u00e9.mp4".encode(), b"\xff\xfe\x80", None]
"""Names of files as the file system has them, and a missing one."""


def test_csv_keeps_the_bytes_of_names(tmp_path):
    write(tmp_path / "t.csv", [[name and os.fsdecode(name), 0, 0.0, 1.0] for name in NAMES])
    lines = (tmp_path / "t.csv").read_bytes().splitlines()[1:]
    assert [line.partition(b",")[0] for line in lines] == [*NAMES[:3], b""]


def test_parquet_escapes_what_is_no_text(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    write(tmp_path / "t.parquet", [[name and os.fsdecode(name), 0, 0.0, 1.0] for name in NAMES])
    names = parquet.read_table(tmp_path / "t.parquet")["video"].to_pylist()
    assert names == [r"caf\xe9.mp4", "zo\u00e9.mp4", r"\xff\xfe\x80", None]


def test_parquet_gathers_rows_into_large_groups(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    write(tmp_path / "t.parquet", ROWS * 3000, batch=50)
    table = parquet.ParquetFile(tmp_path / "t.parquet")
    assert table.metadata.num_rows == 9000 and table.metadata.num_row_groups == 3


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_pandas_reads_whole_numbers_beside_empty_cells(tmp_path, ending):
    pandas = pytest.importorskip("pandas")
    columns = [Column("frame", "int"), Column("AU12_c", "int"), Column("AU12_p", "real")]
    with TableWriter(tmp_path / f"t.{ending}", columns) as table:
        table.write([[0, 1, 0.75], [1, None, None], [2, 0, 0.25]])
    if ending == "csv":
        read = pandas.read_csv(tmp_path / "t.csv", dtype_backend="numpy_nullable")
    else:
        read = pandas.read_parquet(tmp_path / "t.parquet")
    assert list(map(str, read.dtypes))[:2] == ["Int64", "Int64"]
    assert read["AU12_c"].isna().tolist() == [False, True, False]
    assert read["AU12_c"].mean() == 0.5  # a frame without a face is no frame without a smile
    assert read["AU12_p"].tolist()[::2] == [0.75, 0.25]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_table_without_rows_has_its_columns(tmp_path, ending):
    if ending == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
    write(tmp_path / f"t.{ending}", [])
    if ending == "csv":
        assert (tmp_path / "t.csv").read_text() == "video,frame,timestamp,au_000\n"
    else:
        assert parquet.read_schema(tmp_path / "t.parquet").names == [c.name for c in COLUMNS]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("stop", [KeyboardInterrupt, ValueError])
def test_a_table_that_is_not_finished_leaves_the_old_one(tmp_path, ending, stop):
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"t.{ending}"
    path.write_text("old")
    with pytest.raises(stop), TableWriter(path, COLUMNS) as table:
        table.write(ROWS)
        assert path.read_text() == "old"
        raise stop
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("stop", [KeyboardInterrupt, ValueError])
def test_marked_rows_can_be_gone_on_with(tmp_path, ending, stop):
    """Those after the mark are written again."""
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    path, whole = tmp_path / f"t.{ending}", tmp_path / f"whole.{ending}"
    write(whole, ROWS)
    for count in (1, 2):
        with pytest.raises(stop), TableWriter(path, COLUMNS, {"fps": 2}, resume=True) as table:
            assert table.position == (None if count == 1 else {"rows": 1})
            table.write(ROWS[count - 1 : count])
            table.mark({"rows": count})
            table.write(ROWS[count:])
            assert table.kept == count
            raise stop
        assert not path.exists()
    with TableWriter(path, COLUMNS, {"fps": 2}, resume=True) as table:
        assert (table.rows, table.position) == (2, {"rows": 2})
        table.write(ROWS[2:])
    assert path.read_bytes() == whole.read_bytes()
    assert sorted(tmp_path.iterdir()) == sorted([path, whole])


def leave(path: Path, settings=None, columns=COLUMNS) -> None:
    with pytest.raises(KeyboardInterrupt), TableWriter(path, columns, settings) as table:
        table.write([row[: len(columns)] for row in ROWS])
        table.mark("here")
        raise KeyboardInterrupt


def test_going_on_with_other_settings_is_refused(tmp_path):
    path = tmp_path / "t.csv"
    leave(path, {"fps": 2})
    with pytest.raises(
        ValueError, match=r"t\.csv\.partial: was written with fps 2, not 3; give the options"
    ):
        TableWriter(path, COLUMNS, {"fps": 3}, resume=True)
    with pytest.raises(ValueError, match="has other columns"):
        TableWriter(path, COLUMNS[:2], {"fps": 2}, resume=True)
    assert TableWriter(path, COLUMNS, {"fps": 2}, resume=True).rows == 3


def test_a_partial_table_without_its_rows_is_begun_anew(tmp_path):
    leave(tmp_path / "t.csv")
    (tmp_path / "t.csv.partial").unlink()
    with TableWriter(tmp_path / "t.csv", COLUMNS, resume=True) as table:
        assert (table.rows, table.position) == (0, None)
    leave(tmp_path / "t.csv")
    with TableWriter(tmp_path / "t.csv", COLUMNS) as table:  # nor if it is not asked for
        table.write(ROWS[:1])
    assert len((tmp_path / "t.csv").read_text().splitlines()) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_nobody_else_writes_the_table(tmp_path, monkeypatch):
    monkeypatch.setattr("tcae.files.durable._LOCK_SECONDS", 0.1)
    with TableWriter(tmp_path / "t.csv", COLUMNS) as table:
        table.write(ROWS)
        with pytest.raises(ValueError, match="another process is writing to it"):
            TableWriter(tmp_path / "t.csv", COLUMNS)
    assert len((tmp_path / "t.csv").read_text().splitlines()) == 4


def test_a_table_that_is_finished_while_one_waits_for_it_is_not_touched(tmp_path, monkeypatch):
    def wait(*_):
        os.replace(tmp_path / "t.csv.partial", tmp_path / "t.csv")

    leave(tmp_path / "t.csv")
    monkeypatch.setattr("tcae.evaluation.table.lock", wait)
    with pytest.raises(ValueError, match="another process is writing to it"):
        TableWriter(tmp_path / "t.csv", COLUMNS)
    assert len((tmp_path / "t.csv").read_text().splitlines()) == 4


@pytest.mark.parametrize("when", ["write", "sync"])
def test_a_full_disk_names_the_table(tmp_path, monkeypatch, when):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with (
        pytest.raises(OSError, match=r"t\.csv") as caught,
        TableWriter(tmp_path / "t.csv", COLUMNS) as table,
    ):
        monkeypatch.setattr(table._format, when, full)
        table.write(ROWS)
    assert caught.value.errno == errno.ENOSPC and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["t", "t.tsv", "t.csv.gz", "parquet"])
def test_other_endings(tmp_path, name):
    with pytest.raises(ValueError, match=r"must end in \.csv or \.parquet"):
        check_table_path(tmp_path / name)


def test_parquet_without_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ValueError, match=r"pip install 'tcae\[parquet\]'"):
        TableWriter(tmp_path / "t.parquet", COLUMNS)
    check_table_path(tmp_path / "t.csv")
