from __future__ import annotations

import numpy as np
import pytest

from tcae.data.au_sets.gft import Gft
from tcae.data.au_sets.recordings import LabelOptions, read_set

UNITS = (1, 2, 4, 6, 10, 12, 14, 15, 23, 24)
HEADER = ",".join(["Frame", *(f"AU{unit:02d}" for unit in UNITS), "AU17"])


def table(smiles, first=1):
    """Lines of a label file: AU 12 as given, the others 0, AU 17 something that is not wanted."""
    rows = (
        [first + k, *(smile if unit == 12 else 0 for unit in UNITS), 77]
        for k, smile in enumerate(smiles)
    )
    return [HEADER, *(",".join(map(str, row)) for row in rows)]


@pytest.fixture
def tree(write, touch, tmp_path):
    """Four subjects in videos and pictures, two lists."""
    write("labels/001A.csv", table([1, 1, -9, 0]), "\r\n")
    write("labels/001b.csv", table([999, 0, 1, 0]))
    write("labels/012C_AU.csv", table([0, 0, 0, 9]))
    write("labels/013A.csv", table([1, 1, 1, 1]))
    touch("videos", ["001A.mp4", "001B.MP4"])
    touch("images/012C", [f"frame_{k:04d}.jpg" for k in range(1, 5)])
    touch("images/013A", [f"frame_{k:04d}.jpg" for k in range(1, 5)])
    write("TrainSubjects.txt", ["001A", "012c", "044B"], "\r\n")
    write("lists/test_subjects.csv", ["subject", "001B,2017"])
    return tmp_path


def read(root, **options):
    return read_set(Gft(LabelOptions(**options)), root, options.get("labels"))


def test_what_is_found(tree, caplog):
    found = read(tree)
    assert found.units[4:6] == ("AU10", "AU12") and len(found.units) == 10
    assert [r.source.video for r in found.recordings] == ["001A", "001B", "012C", "013A"]
    assert [r.source.key for r in found.recordings] == [
        *("videos/001A.mp4", "videos/001B.MP4", "images/012C", "images/013A")
    ]
    smiles = [r.labels.values[:, 5] for r in found.recordings]
    assert [np.nansum(column) for column in smiles] == [2, 1, 0, 4]
    assert [int(np.isnan(column).sum()) for column in smiles] == [1, 1, 1, 0]
    frames = [r.labels.frames.tolist() for r in found.recordings]
    assert frames == [[0, 1, 2, 3], [0, 1, 2, 3], [1, 2, 3, 4], [1, 2, 3, 4]]
    expected = {"001A": "train", "001B": "test", "012C": "train", "013A": "unused"}
    assert found.folds == expected
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "1 subjects of the GFT lists are not there, as 044B"
    assert "1 subjects are in no GFT list" in lines[1] and lines[1].endswith("as 013A")


def test_other_names_other_codes_other_lists(tree, write, touch):
    write("new/labels/s17_codes.csv", table([1, 5, 0, 0]))
    write("new/a.txt", ["s17"])
    write("new/b.txt", ["s18"])
    touch("new/s17", [f"{k}.jpg" for k in range(4)])
    options = {
        "gft_subjects": r"s\d\d",
        "gft_train": tree / "new/a.txt",
        "gft_test": tree / "new/b.txt",
    }
    with pytest.raises(ValueError, match=r"s17_codes.csv:3: holds '5'"):
        read(tree / "new", **options)
    found = read(tree / "new", unknown_codes=(5,), **options)
    assert found.folds == {"S17": "train"}
    assert np.isnan(found.recordings[0].labels.values[1, 5])
    assert found.recordings[0].labels.frames.tolist() == [0, 1, 2, 3]


def test_labels_that_begin_within_the_video(tree, write):
    write("labels/001A.csv", table([1, 1, 0, 0], first=300))
    with pytest.raises(ValueError, match=r"001A: labels 300 to 303 for the frames of a video file"):
        read(tree)
    found = read(tree / "videos", labels=tree / "labels", frame_offset=-1)
    assert found.recordings[0].labels.frames.tolist() == [299, 300, 301, 302]


def test_tables_that_are_no_labels_are_left_out(tree, write):
    write("tracking/001A.csv", ["frame,x1,y1", "1,5.5,6.5"])
    write("tracking/001A_notes.txt", ["recorded in the morning"])
    assert len(read(tree).recordings) == 4
    write("intensity/001A.csv", table([1, 1, 0, 0]))
    with pytest.raises(ValueError, match=r"two label files of 001A: .*intensity.* and .*labels"):
        read(tree)
    assert len(read(tree, labels=tree / "labels").recordings) == 4


def test_no_lists_no_split(tree, caplog):
    (tree / "TrainSubjects.txt").unlink()
    with pytest.raises(ValueError, match="no list of train subjects; --gft-train"):
        read(tree)
    (tree / "lists/test_subjects.csv").unlink()
    assert read(tree).folds == {}
    assert any("no lists of training and test subjects" in r.getMessage() for r in caplog.records)


def test_bad_lists(tree, write):
    write("lists/test_subjects.csv", ["001A"])
    with pytest.raises(ValueError, match=r"test_subjects.csv: 001A is a train subject too"):
        read(tree)
    write("lists/test_subjects.csv", ["everybody else"])
    with pytest.raises(ValueError, match=r"test_subjects.csv: names no subject; --gft-subjects"):
        read(tree)
    write("lists/more_test.txt", ["001B"])
    with pytest.raises(ValueError, match=r"more_test.txt or .*test_subjects.csv\? --gft-test"):
        read(tree)


def test_a_pattern_that_is_none(tree):
    with pytest.raises(ValueError, match=r"--gft-subjects '\(': "):
        read(tree, gft_subjects="(")


def test_a_tree_that_does_not_match(tree):
    with pytest.raises(ValueError, match=r"videos: no GFT label files \(one .csv per subject"):
        read(tree / "videos")
    with pytest.raises(ValueError, match=r"labels: no GFT frames \(one video or folder"):
        read(tree / "labels")
