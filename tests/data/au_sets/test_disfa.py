from __future__ import annotations

import numpy as np
import pytest

from tcae.data.au_sets.disfa import FOLDS, Disfa
from tcae.data.au_sets.recordings import LabelOptions, read_set

UNITS = (1, 2, 4, 6, 9, 12, 25, 26)
CODED = (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)
# Ten frames of AU 12: 4 are active (2, 3, 4, 5), one is unknown.
SMILE = (0, 0, 1, 2, 3, 4, 5, 9, 1, 0)


@pytest.fixture
def label(write):
    """Function that writes a subject's label files: AU 12 smiles, AU 1 moves once, no other."""

    def write_subject(subject, folder="ActionUnit_Labels", first=1, end="\r\n", name="{}_au{}.txt"):
        for unit in CODED:
            codes = {12: SMILE, 1: (0, 2, *[0] * 8)}.get(unit, [0] * 10)
            lines = [f"{first + k},{code}" for k, code in enumerate(codes)]
            write(f"{folder}/{subject}/{name.format(subject, unit)}", lines, end)

    return write_subject


def read(root, **options):
    return read_set(Disfa(LabelOptions(**options)), root, options.get("labels"))


def active(recording, unit):
    """Numbers of the frames in which a unit is active."""
    column = recording.labels.values[:, UNITS.index(unit)]
    return recording.labels.frames[column == 1].tolist()


@pytest.mark.parametrize(
    "video",
    [
        "Videos_LeftCamera/LeftVideoSN001_comp.avi",
        "Video_LeftCamera/leftvideosn001_comp.AVI",
        "videos/SN001.mp4",
    ],
)
def test_videos_count_from_0_and_labels_from_1(label, touch, tmp_path, video):
    label("SN001")
    folder, _, name = video.rpartition("/")
    touch(folder, [name])
    found = read(tmp_path)
    assert found.units == ("AU01", "AU02", "AU04", "AU06", "AU09", "AU12", "AU25", "AU26")
    (recording,) = found.recordings
    assert recording.source.is_file and recording.source.name == "SN001"
    assert (recording.source.key, recording.source.identity) == (video, "SN001")
    assert recording.pictures is None
    assert recording.labels.frames.tolist() == list(range(10))
    assert active(recording, 12) == [3, 4, 5, 6] and active(recording, 1) == [1]
    known = (~np.isnan(recording.labels.values)).sum(0).tolist()
    assert known == [10, 10, 10, 10, 10, 9, 10, 10]
    assert found.folds == {"SN001": "1"}


@pytest.mark.parametrize(
    ("folder", "pattern", "first", "smile"),
    [
        ("SN001", "{:d}.png", 0, [3, 4, 5, 6]),
        ("sn001", "{:04d}.jpg", 1, [4, 5, 6, 7]),
        ("Images/Left/SN001", "SN001_{:05d}.jpg", 0, [3, 4, 5, 6]),
        ("frames/LeftVideoSN001_comp", "LeftVideoSN001_comp_{:04d}.png", 1, [4, 5, 6, 7]),
        ("SN001/left", "frame_det_{:06d}.bmp", 1, [4, 5, 6, 7]),
    ],
)
def test_extracted_pictures(label, touch, tmp_path, folder, pattern, first, smile):
    label("SN001", end="\n")
    touch(folder, [pattern.format(first + k) for k in range(10)])
    (recording,) = read(tmp_path).recordings
    assert recording.source.video == "SN001" and recording.source.key == folder
    assert active(recording, 12) == smile
    assert recording.pictures == set(range(first, first + 10))
    assert recording.pictures >= set(recording.labels.frames.tolist())


def test_each_subject_for_itself_and_those_who_do_not_tell(label, touch, tmp_path, caplog):
    for subject in ("SN001", "SN002", "SN003"):
        label(subject)
    touch("left/SN001", [f"{k}.jpg" for k in range(10)])
    touch("left/SN002", [f"{k}.jpg" for k in range(10)])
    touch("left/SN003", [f"{k}.jpg" for k in (4, 5, 6)])
    assert [active(r, 12) for r in read(tmp_path).recordings] == [[3, 4, 5, 6]] * 3
    assert any("as SN003, have neither a picture 0" in r.getMessage() for r in caplog.records)
    touch("left/SN002", ["10.jpg"])
    with pytest.raises(ValueError, match="SN002: labels 1 to 10, 11 pictures 0 to 10: counted"):
        read(tmp_path)
    (tmp_path / "left/SN002/0.jpg").unlink()
    with pytest.raises(ValueError, match=r"SN003: .* contradict each other; --frame-offset"):
        read(tmp_path)


def test_the_right_camera_is_left_out_unless_it_is_alone(label, touch, tmp_path):
    label("SN001")
    touch("Video_RightCamera", ["RightVideoSN001_comp.avi"])
    (recording,) = read(tmp_path).recordings
    assert recording.source.path.name == "RightVideoSN001_comp.avi"
    touch("Video_LeftCamera", ["LeftVideoSN001_comp.avi"])
    (recording,) = read(tmp_path).recordings
    assert recording.source.path.name == "LeftVideoSN001_comp.avi"


def test_a_video_and_its_pictures(label, touch, tmp_path):
    label("SN001")
    touch("Videos_LeftCamera", ["LeftVideoSN001_comp.avi"])
    touch("frames/SN001", ["0.jpg", "1.jpg"])
    with pytest.raises(ValueError, match=r"two videos of SN001: .* and .*SOURCE and --labels"):
        read(tmp_path)
    found = read(tmp_path / "frames", labels=tmp_path / "ActionUnit_Labels")
    assert not found.recordings[0].source.is_file


def test_names_of_label_files_in_other_cases(label, touch, tmp_path):
    label("sn001", folder="Labels", name="{}_AU{}.TXT")
    touch("v", ["LeftVideoSN001_comp.avi"])
    assert active(read(tmp_path).recordings[0], 12) == [3, 4, 5, 6]


def test_files_of_a_subject_that_count_differently(label, write, touch, tmp_path):
    label("SN001")
    touch("v", ["LeftVideoSN001_comp.avi"])
    write("ActionUnit_Labels/SN001/SN001_au9.txt", [f"{k},0" for k in range(10)])
    with pytest.raises(ValueError, match=r"SN001_au9.txt begins with frame 0, but .* with frame 1"):
        read(tmp_path)
    label("SN001", first=0)
    assert active(read(tmp_path).recordings[0], 12) == [3, 4, 5, 6]


def test_a_file_that_is_missing_or_shorter(label, write, touch, tmp_path):
    label("SN001")
    touch("v", ["LeftVideoSN001_comp.avi"])
    write("ActionUnit_Labels/SN001/SN001_au12.txt", ["1,0", "2,3"])
    (recording,) = read(tmp_path).recordings
    assert active(recording, 12) == [1]
    assert (~np.isnan(recording.labels.values[:, UNITS.index(12)])).sum() == 2
    (tmp_path / "ActionUnit_Labels/SN001/SN001_au12.txt").unlink()
    with pytest.raises(ValueError, match=r"no label file of SN001 AU 12; others are in .*/SN001"):
        read(tmp_path)


def test_missing_and_unlisted_subjects(label, touch, tmp_path, caplog):
    for subject in ("SN006", "SN033"):
        label(subject)
        touch("v", [f"LeftVideo{subject}_comp.avi"])
    assert read(tmp_path).folds == {"SN006": "2", "SN033": "unused"}
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "26 subjects of the DISFA lists are not there, as SN001"
    assert "1 subjects are in no DISFA list" in lines[1] and lines[1].endswith("as SN033")


def test_the_folds_are_those_of_the_paper():
    folds = [fold.split() for fold in FOLDS]
    assert [len(fold) for fold in folds] == [9, 9, 9]
    absent = {13 + k for k in (1, 2)} | {19, 20, 22}
    everybody = [f"SN{k:03d}" for k in range(1, 33) if k not in absent]
    assert sorted(name for fold in folds for name in fold) == everybody


def test_a_tree_that_does_not_match(label, touch, tmp_path):
    touch("v", ["LeftVideoSN001_comp.avi"])
    with pytest.raises(ValueError) as caught:
        read(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: no DISFA label files (ActionUnit_Labels/SN001/SN001_au1.txt) in any of the 2 "
        "folders below it"
    )
    label("SN001")
    with pytest.raises(ValueError, match=r"ActionUnit_Labels: no DISFA frames \(videos LeftVideo"):
        read(tmp_path / "ActionUnit_Labels")
