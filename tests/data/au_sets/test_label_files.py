from __future__ import annotations

import numpy as np
import pytest

from tcae.data.au_sets.label_files import Codes, join_units, read_table, read_unit

NAN = float("nan")
OCCURRENCE = Codes(frozenset({9, -9, 999}), highest=1, positive=1)
INTENSITY = Codes(frozenset({9}), highest=5, positive=2)


def test_what_codes_mean():
    cells = ("0", "1", " 1.0 ", "9", "-9", "999", "", " ", "NaN")
    assert [OCCURRENCE.value(c) for c in cells[:3]] == [0, 1, 1]
    assert all(np.isnan(OCCURRENCE.value(c)) for c in cells[3:])
    assert [INTENSITY.value(str(i)) for i in range(6)] == [0, 0, 1, 1, 1, 1]
    for cell in ("2", "-1", "x", "0.5", "inf"):
        with pytest.raises(ValueError, match=r"holds .*must be from 0 to 1, or empty or one of -9"):
            OCCURRENCE.value(cell)
    with pytest.raises(ValueError, match="--unknown-codes: 5 is a label"):
        Codes(frozenset({9, 5}), highest=5, positive=2)


@pytest.mark.parametrize(
    "header",
    [
        "0,1,2,4,12",
        ",1,2,4,12",
        "Frame,AU1,AU2,AU4,AU12",
        "frame, AU01 , AU02,au_04,AU12_c",
        "Frame#,1,2,4,12,Comments",
    ],
)
@pytest.mark.parametrize(("end", "encoding"), [("\n", "utf-8"), ("\r\n", "utf-8-sig")])
def test_variants_of_a_table(write, header, end, encoding):
    more = "," if header.endswith("Comments") else ""
    lines = [header, *(row + more for row in ("0021,1,0,9,0", "", "3, 0,9,1,"))]
    table = read_table(write("a.csv", lines, end, encoding), (1, 4, 12), OCCURRENCE)
    assert table.frames.tolist() == [3, 21]
    assert table.values.dtype == np.float32
    assert np.array_equal(table.values, [[0, 1, NAN], [1, NAN, 0]], equal_nan=True)


@pytest.mark.parametrize("mark", [";", "\t"])
def test_other_separators_and_a_frame_column_elsewhere(write, mark):
    lines = ["AU12,subject,frame,AU1", "1,001A,5,0", "0,001A,6,9"]
    path = write("a.csv", [line.replace(",", mark) for line in lines])
    table = read_table(path, (1, 12), OCCURRENCE)
    assert table.frames.tolist() == [5, 6]
    assert np.array_equal(table.values, [[0, 1], [NAN, 0]], equal_nan=True)


def test_a_repeated_row_is_one_if_it_is_equal(write):
    path = write("a.csv", ["0,1", "7,9", "7,9", "8,1"])
    assert read_table(path, (1,), OCCURRENCE).frames.tolist() == [7, 8]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "needs one column of AU 1; its header has nothing"),
        (["0,2", "1,0"], "needs one column of AU 1; its header has 0, 2"),
        (["0,1,AU01", "1,0,0"], "needs one column of AU 1"),
        (["0,1"], "holds no labels"),
        (["0,1", "5,2"], ":2: holds '2'"),
        (["", "0,1", "", "5"], ":4: 1 cells, its header has 2"),
        (["0,1", "x,1"], ":2: 'x' is no frame number"),
        (["0,1", "-4,1"], ":2: '-4' is no frame number"),
        (["0,1", "5,1", "5,0"], ":3: frame 5 is labelled otherwise"),
    ],
)
def test_mistakes_name_file_and_line(write, lines, message):
    with pytest.raises(ValueError) as caught:
        read_table(write("a.csv", lines), (1,), OCCURRENCE)
    assert str(caught.value).startswith(str(write("a.csv", []))) and message in str(caught.value)


def test_no_text_file(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"0,1\n\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"a.csv: not a table in a text file"):
        read_table(tmp_path / "a.csv", (1,), OCCURRENCE)


def test_a_file_of_one_unit(write):
    plain = ["1,0", "2,1", "3,2", "4,5", "5,9"]
    expected = {1: 0, 2: 0, 3: 1, 4: 1}
    for lines, end in (
        (plain, "\n"),
        (plain, "\r\n"),
        (["frame,intensity", *plain, ""], "\n"),
        ([line.replace(",", ", ") for line in plain], "\n"),
        ([line.replace(",", "\t") for line in plain], "\n"),
    ):
        labels = read_unit(write("SN001_au1.txt", lines, end), INTENSITY)
        assert np.isnan(labels.pop(5)) and labels == expected


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "holds no labels"),
        (["1,0", "2,6"], ":2: holds '6'"),
        (["1,0,0"], ":1: 3 cells"),
        (["1 0"], ":1: 1 cells"),
        (["1,0", "frame,intensity"], ":2: holds 'intensity'"),
    ],
)
def test_mistakes_of_one_unit(write, lines, message):
    with pytest.raises(ValueError) as caught:
        read_unit(write("SN001_au1.txt", lines), INTENSITY)
    assert "SN001_au1.txt" in str(caught.value) and message in str(caught.value)


def test_units_are_joined_and_must_begin_together(tmp_path):
    one, two = tmp_path / "au1.txt", tmp_path / "au2.txt"
    table = join_units({one: {1: 0.0, 2: 1.0, 3: NAN}, two: {1: 1.0, 3: 0.0}})
    assert table.frames.tolist() == [1, 2, 3]
    assert np.array_equal(table.values, [[0, 1], [1, NAN], [NAN, 0]], equal_nan=True)
    with pytest.raises(
        ValueError, match=r"au2.txt begins with frame 0, but .*au1.txt with frame 1"
    ):
        join_units({one: {1: 0.0, 2: 1.0}, two: {0: 1.0, 1: 0.0}})
