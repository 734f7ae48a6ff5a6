from __future__ import annotations

import csv
import io
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcae.cli.command import one_line
from tcae.data.labels import LabelTable, read_intensities, read_labels
from tcae.data.shards import PackedDataset
from tcae.files.durable import write_csv

CLIPS = {
    ("ann", "ann/T1", "0"): 4,
    ("bob", "bob/T1", "0"): 2,
    ("bob", "bob/T1", "1"): 3,
}
HEADER = "frame,subject,AU01,AU12\n"


@pytest.fixture
def dataset(pack_frames):
    return PackedDataset(pack_frames(CLIPS))


@pytest.fixture
def read(tmp_path, dataset):
    def read_text(text, encoding="utf-8"):
        path = tmp_path / "labels.csv"
        path.write_bytes(text.encode(encoding))
        return read_labels(path, dataset)

    return read_text


def test_values_and_unknown_cells(read, dataset):
    table = read(HEADER + "ann/T1/0/2,ann,1,9\nann/T1/0/0,ann,0,\nbob/T1/1/2,bob,,1\n")
    assert table.names == ("AU01", "AU12")
    assert [dataset.name(i) for i in table.frame_index] == [
        "ann/T1/0/0",
        "ann/T1/0/2",
        "bob/T1/1/2",
    ]
    assert table.subjects == ("ann", "ann", "bob")
    assert table.values.dtype == np.float32
    expected = [[0, np.nan], [1, np.nan], [np.nan, 1]]
    assert np.array_equal(table.values, expected, equal_nan=True)


def test_track_may_be_left_out_where_one_track_has_the_frame(read, dataset):
    table = read(HEADER + "ann/T1/3,a,1,1\nbob/T1/2,b,0,0\n")
    assert [dataset.name(i) for i in table.frame_index] == ["ann/T1/0/3", "bob/T1/1/2"]
    with pytest.raises(ValueError, match=r"labels.csv:2: several tracks have frame bob/T1/1"):
        read(HEADER + "bob/T1/1,b,0,0\n")


def test_spaces_carriage_returns_mark_and_blank_lines(read):
    lines = ["frame , subject, AU01,AU12", "", " ann/T1/0/1 , ann , 1 , 0 ", ",,,"]
    table = read("\r\n".join([*lines, "ann/T1/0/001,ann,1,0", ""]), "utf-8-sig")
    assert table.names == ("AU01", "AU12")
    assert table.subjects == ("ann",)
    assert table.values.tolist() == [[1, 0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "header must be frame,subject"),
        ("subject,frame,AU01\n", "header must be frame,subject"),
        ("frame,subject\n", "header must be frame,subject"),
        ("frame,subject,AU01,AU01\n", "repeated column"),
        ("frame,subject,AU01,\n", "empty or repeated column"),
        (HEADER + "ann/T1/0/0,ann,0,2\n", ":2: column AU12 holds '2'"),
        (HEADER + "ann/T1/0/0,ann,0,1\nann/T1/0/1,ann,nan,1\n", ":3: column AU01 holds 'nan'"),
        (HEADER + "ann/T1/0/0,ann,0\n", ":2: 3 cells, the header has 4"),
        (HEADER + "ann/T1/0/0,,0,1\n", ":2: empty frame or subject"),
        (HEADER + "ann/T1/0/x,ann,0,1\n", ":2: frame must be video/track/number"),
        (HEADER + "7,ann,0,1\n", ":2: frame must be video/track/number"),
        (HEADER + f"ann/T1/0/{'9' * 5000},ann,0,1\n", ":2: frame must be video/track/number"),
        (HEADER + "ann/T1/0/0.04,ann,0,1\n", "not 'ann/T1/0/0.04'; a time cannot stand for"),
        (HEADER + "ann/T1/0/00:01.5,ann,0,1\n", "not 'ann/T1/0/00:01.5'; a time cannot stand for"),
        ("time,subject,AU01\n", "<AU columns>, not 'time,subject,AU01'"),
        ("frame;subject\n", "<AU columns>, not 'frame,subject'"),
        ("frame|subject|AU01\n", "<AU columns>, not 'frame|subject|AU01'"),
        ("number,frame,subject,AU01\n", "<AU columns>, not 'number,frame,subject,AU01'"),
        (",,frame,subject,AU01\n", "<AU columns>, not ',,frame,subject,AU01'"),
        (",frame,subject,AU01\n0,ann/T1/0/0,ann\n", ":2: 3 cells, the header has 4"),
        ("frame;subject;AU01\nann/T1/0/0,ann,1\n", ":2: 1 cells, the header has 3"),
        (HEADER, "none of its 0 frames"),
        (HEADER + "zoe/T1/0/0,zoe,0,1\n", "none of its 1 frames is packed"),
        (
            HEADER + "ann/T1/0/0,ann,0,1\nann/T1/0,ann,1,1\n",
            ":3: frame ann/T1/0 is labelled otherwise than on line 2",
        ),
        (HEADER + "ann/T1/0/0,ann,0,1\nann/T1/0/0,bob,0,1\n", ":3: frame ann/T1/0/0 is labelled"),
    ],
)
def test_mistakes_are_named(read, text, message):
    with pytest.raises(ValueError) as error:
        read(text)
    assert message in str(error.value)
    assert "labels.csv" in str(error.value)


@pytest.mark.parametrize("cell", ["-1", "999", "99", "0.5", "1.5", "nan", "NaN", "NA", "1,0", "x"])
def test_other_cells_are_named_with_what_is_allowed(read, cell):
    with pytest.raises(ValueError) as error:
        read(f"frame;subject;AU01;AU12\nann/T1/0/0;ann;0;1\nann/T1/0/1;ann;1;{cell}\n")
    said = f":3: column AU12 holds {cell!r}; it must be 0, 1, or empty or 9 for unknown"
    assert str(error.value).endswith(f"labels.csv{said}")


CELLS = {0.0: ["0", "0.0"], 1.0: ["1", "1.0"], None: ["", "9", "9.0"]}
CHOICES = st.sampled_from
LABELLED = st.dictionaries(
    CHOICES([(video, k) for video, n in (("ann/T1/0", 4), ("bob/T1/1", 3)) for k in range(n)]),
    st.tuples(CHOICES(["ann", "bob; b", "c,d", 'e "f"', "ü"]), *[CHOICES(list(CELLS))] * 2),
    min_size=1,
)


@st.composite
def spelled(draw, labelled, separator, line_end):
    """The labels as the text of a table, in any of the ways in which programs write it."""
    indexed = draw(st.booleans())
    text = io.StringIO()
    quoting = draw(CHOICES([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    writer = csv.writer(text, delimiter=separator, lineterminator=line_end, quoting=quoting)
    writer.writerow([""] * indexed + ["frame", "subject", "AU01", "AU 2,;"])
    for number, frame in enumerate(draw(st.permutations(sorted(labelled)))):
        subject, *values = labelled[frame]
        cells = [draw(CHOICES(CELLS[value])) for value in values]
        index = [str(number)] * indexed
        writer.writerow([*index, f"{frame[0]}/{frame[1]}", subject, *cells])
        text.write(draw(CHOICES(["", line_end])))
    return draw(CHOICES([b"", b"\xef\xbb\xbf"])) + text.getvalue().encode()


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LABELLED, CHOICES([",", ";", "\t"]), CHOICES(["\n", "\r\n", "\r"]), st.data())
def test_one_table_in_every_spelling(tmp_path, dataset, labelled, separator, line_end, data):
    path = tmp_path / "labels.csv"
    path.write_bytes(data.draw(spelled(labelled, separator, line_end)))
    table = read_labels(path, dataset)
    frames = sorted(labelled)
    assert table.names == ("AU01", "AU 2,;")
    assert [dataset.name(i) for i in table.frame_index] == [f"{v}/{k}" for v, k in frames]
    assert table.subjects == tuple(labelled[frame][0] for frame in frames)
    expected = np.array([labelled[frame][1:] for frame in frames], np.float32)  # None gives NaN
    assert np.array_equal(table.values, expected, equal_nan=True)


def test_a_table_that_pandas_wrote(tmp_path, dataset):
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(
        {"frame": ["ann/T1/0/0", "ann/T1/0/1"], "subject": "ann", "AU01": [1, None], "AU12": [0, 1]}
    )
    table.to_csv(tmp_path / "labels.csv")
    expected = [[1, 0], [np.nan, 1]]
    read = read_labels(tmp_path / "labels.csv", dataset)
    assert np.array_equal(read.values, expected, equal_nan=True)


def test_repeated_and_missing_rows_are_counted(read, caplog):
    rows = "ann/T1/0/0,ann,0,9\nann/T1/0/0,ann,0,\nann/T1/0/9,ann,0,1\nzoe/0/1,zoe,0,1\n"
    table = read(HEADER + rows)
    assert len(table.values) == 1
    lines = [r.getMessage() for r in caplog.records]
    assert len(lines) == 2
    assert "2 rows name frames that are not packed, as ann/T1/0/9" in lines[0]
    assert "1 rows repeat another row, as ann/T1/0/0" in lines[1]


def test_names_of_videos_in_another_encoding(tmp_path, pack_frames):
    """The packer names frames after files, whose names are bytes, and writes these."""
    name = os.fsdecode(b"jos\xe9")
    dataset = PackedDataset(pack_frames({(name, name, "0"): 2}))
    write_csv(tmp_path / "labels.csv", [["frame", "subject", "AU01"], [f"{name}/0/1", name, 1]])
    assert b"jos\xe9/0/1,jos\xe9,1" in (tmp_path / "labels.csv").read_bytes()
    table = read_labels(tmp_path / "labels.csv", dataset)
    assert table.frame_index.tolist() == [1] and table.subjects == (name,)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"frame,subject,AU\xb9\n", 1),
        (b"frame,subject,AU01\nann/T1/0/0,ann,1\nann/T1/0/1,ann,\xb9\n", 3),
    ],
)
def test_other_text_is_named_by_its_line(tmp_path, dataset, content, line):
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(ValueError, match=f"not a CSV text file: line {line} is not UTF-8"):
        read_labels(tmp_path / "labels.csv", dataset)


def test_utf_16_is_named(tmp_path, dataset):
    (tmp_path / "labels.csv").write_bytes("frame,subject,AU01\n".encode("utf-16"))
    with pytest.raises(ValueError, match=r"labels\.csv: is UTF-16 text; save it as UTF-8"):
        read_labels(tmp_path / "labels.csv", dataset)


def test_no_text_file(tmp_path, dataset):
    path = tmp_path / "labels.csv"
    path.write_bytes(b"frame,subject,AU01\n\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"labels.csv: not a CSV text file"):
        read_labels(path, dataset)
    with pytest.raises(FileNotFoundError):
        read_labels(tmp_path / "none.csv", dataset)


def test_without_a_table_the_error_says_what_it_must_look_like(tmp_path, dataset):
    with pytest.raises(FileNotFoundError) as error:
        read_labels(tmp_path / "labels.csv", dataset)
    line = one_line(error.value)
    assert line.startswith(f"{tmp_path / 'labels.csv'}: No such file; ")
    for part in ("frame,subject,AU01", "such as ann/T1/0/0,", "0, 1, or empty or 9 for unknown"):
        assert part in line


def test_intensities_stand_in_for_labels_where_there_are_any(tmp_path, pack_frames):
    dataset = PackedDataset(pack_frames({("a", "a", "0"): 3}))
    values = np.array([[0, 1], [1, np.nan], [np.nan, 0]], np.float32)
    labels = LabelTable(("AU01", "AU12"), values, ("a",) * 3, np.arange(3))
    path = tmp_path / "truth.csv"
    path.write_text("frame,AU12_r,AU01_r,yaw\na/0/1,0.25,,3\nb/0/0,9,9,9\na/0/0,1,0.125,70\n")
    found = read_intensities(path, dataset, labels)
    np.testing.assert_array_equal(found, [[0.125, 1], [1, 0.25], [np.nan, 0]])
    np.testing.assert_array_equal(labels.values, values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("frame,AU12_r\na/0/1,1.5\n", r":2: AU12_r holds '1.5'; it must be a number in \[0, 1\]"),
        ("frame,AU12_r\na/0/1,high\n", ":2: AU12_r holds 'high'"),
        ("frame,AU12\na/0/1,0.5\n", "no intensity of a labelled frame in it"),
    ],
)
def test_other_intensities_are_refused(tmp_path, pack_frames, text, message):
    dataset = PackedDataset(pack_frames({("a", "a", "0"): 3}))
    labels = LabelTable(("AU12",), np.zeros((3, 1), np.float32), ("a",) * 3, np.arange(3))
    (tmp_path / "truth.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_intensities(tmp_path / "truth.csv", dataset, labels)
