from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from tcae.report.face_table import FaceTable, read_face_table

VIDEO = Path("videos/talk.mp4")
HEAD = "video,frame,timestamp,face_id,success,face_x,face_y,face_w,face_h,au_000,AU06_c,AU06_p"
ROWS = [
    "videos/talk.mp4,0,0.0,0,1,1,2,3,4,9,1,0.75",
    "videos/talk.mp4,0,0.0,1,1,5,6,7,8,9,0,0.25",
    "videos/talk.mp4,1,0.04,,0,,,,,,,",
    "videos/talk.mp4,2,0.08,1,1,5,6,7,8,9,1,0.5",
]


@pytest.fixture
def read(tmp_path: Path):
    """Function that reads lines as a table of VIDEO."""

    def read(lines: list[str], files: tuple[Path, ...] = (VIDEO,)) -> FaceTable:
        (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
        return read_face_table(tmp_path / "t.csv", files)

    return read


def test_faces_frames_and_values(read) -> None:
    table = read([HEAD, *ROWS])
    assert table.units == ["AU06"] and table.kind == "p" and table.full == 1
    np.testing.assert_array_equal(table.times, [0, 0.04, 0.08])
    first, second = table.tracks()
    assert (first.face, first.frames.tolist(), first.rows.tolist()) == (1, [0, 2], [1, 3])
    assert (second.face, second.frames.tolist(), second.rows.tolist()) == (0, [0], [0])
    np.testing.assert_array_equal(table.values("AU06"), [0.75, 0.25, np.nan, 0.5])
    np.testing.assert_array_equal(table.present("AU06"), [True, False, False, True])
    np.testing.assert_array_equal(table.boxes[1], [5, 6, 7, 8])
    assert np.isnan(table.points).all() and "au_000" not in table.columns
    assert table.text == "\n".join([HEAD, *ROWS]) + "\n"


def test_what_a_table_may_lack(read) -> None:
    intensities = read(
        ["frame, face_id, timestamp, AU06_r, AU45_c", "1, 0, 0.0, 4.5, 1"]
    )  # OpenFace
    assert (intensities.kind, intensities.full, intensities.files) == ("r", 5, [VIDEO])
    assert intensities.present("AU45").all() and intensities.present("AU06").all()
    for kind in ("p", "score"):
        likely = read([f"face_id,timestamp,AU06_r,AU06_{kind}", "0,0.0,9,0.5", "0,0.1,9,0.49"])
        assert (likely.kind, likely.full, likely.kinds) == (kind, 1, [kind, "r"])
        np.testing.assert_array_equal(likely.values("AU06", "r"), [9, 9])
        assert likely.present("AU06").tolist() == [True, False]
        assert likely.scale.startswith(f"AUxx_{kind} (")


def test_parquet_says_the_same(read, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    table = read([HEAD, *ROWS])
    pandas.read_csv(tmp_path / "t.csv").to_parquet(tmp_path / "t.parquet")
    other = read_face_table(tmp_path / "t.parquet", [VIDEO])
    assert other.units == table.units and other.files == table.files
    for name, numbers in table.columns.items():
        np.testing.assert_array_equal(other.columns[name], numbers)


def test_rows_of_other_files_are_left_out(read, tmp_path: Path) -> None:
    rows = [row.replace("talk", "other") for row in ROWS]
    table = read([HEAD, *rows, *ROWS])
    assert len(table.files) == 4 and "other" not in table.text
    namesake = tmp_path / "talk.mp4"
    namesake.touch()
    video = tmp_path / "real" / "talk.mp4"
    video.parent.mkdir()
    video.touch()
    rows = [f"{file},0,0.0,0,1,1,2,3,4,9,1,0.75" for file in (namesake, video)]
    assert len(read([HEAD, *rows], (video,)).files) == 1


def test_pictures_have_their_own_rows(read) -> None:
    files = (Path("a.jpg"), Path("b.jpg"))
    head = "video,file,frame,face_id,success,AU06_p"
    table = read([head, ",in/a.jpg,0,0,1,.5", ",in/b.jpg,1,,0,", ",in/a.jpg,0,1,1,.25"], files)
    assert table.rows_of(files[0]).tolist() == [0, 2]
    assert table.rows_of(files[1]).tolist() == []


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([""], "no column of an action unit"),
        (["frame,timestamp,AU06_p", "0,0,1"], "no column 'face_id', which names the faces"),
        (["frame,timestamp,face_id", "0,0,1"], "no column of an action unit, such as 'AU12_p'"),
        ([HEAD], "it has no rows"),
        ([HEAD, ROWS[0].replace("talk", "other")], "rows are of videos/other.mp4, none is of"),
        ([HEAD, ROWS[0].replace("0.75", "high")], "line 2: AU06_p is 'high', a number is needed"),
        ([HEAD, ROWS[0] + ",1"], "line 2: 13 cells, its header has 12"),
        ([HEAD, *ROWS, ROWS[0].replace("videos", "old")], "both videos/talk.mp4 and old/talk.mp4"),
    ],
)
def test_what_is_no_table_of_the_video_is_refused(read, lines: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(lines)


def test_a_face_twice_in_a_frame_is_refused(read) -> None:
    table = read([HEAD, *ROWS, ROWS[0]])
    with pytest.raises(ValueError, match="face 0 has two rows at 0 s"):
        table.tracks()


@pytest.mark.parametrize("lines", [["face_id,AU06_p", "0,1"], ["face_id,timestamp,AU06_p", "0,,1"]])
def test_a_video_needs_times(read, lines: list[str]) -> None:
    with pytest.raises(ValueError, match="1 of its 1 rows have no 'timestamp'"):
        read(lines).tracks()


def test_a_picture_without_a_name_is_refused(read) -> None:
    with pytest.raises(ValueError, match="no column 'file'"):
        read(["face_id,AU06_p", "0,1"], (Path("a.jpg"), Path("b.jpg")))


def test_nan_is_a_gap_and_a_line(read, caplog) -> None:
    rows = [ROWS[0], ROWS[1].replace("0.25", "nan"), ROWS[3].replace("0.5", "inf")]
    with caplog.at_level(logging.WARNING):
        table = read([HEAD, *rows])
    np.testing.assert_array_equal(table.values("AU06"), [0.75, np.nan, np.nan])
    [record] = caplog.records
    assert (
        "2 cells are no numbers" in record.getMessage() and "line 3, AU06_p" in record.getMessage()
    )


def test_a_large_table_is_not_held_as_text(read, monkeypatch) -> None:
    monkeypatch.setattr("tcae.report.face_table._MOST_TEXT", 150)
    table = read([HEAD, *ROWS])
    assert table.text is None and len(table.files) == 4
