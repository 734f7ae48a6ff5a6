from __future__ import annotations

import numpy as np
import pytest

from tcae.data.au_sets.bp4d import FOLDS, Bp4d
from tcae.data.au_sets.label_files import FrameLabels
from tcae.data.au_sets.recordings import LabelOptions, read_set

UNITS = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)
# As distributed: more units than the paper takes, the first cell of the header a number.
CODED = (1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15, 17, 20, 23, 24, 28)


def row(frame, **codes):
    """A line of a label file: 0 where nothing else is said."""
    return ",".join([str(frame), *(str(codes.get(f"au{unit}", 0)) for unit in CODED)])


HEADER = ",".join(map(str, (0, *CODED)))


@pytest.fixture
def tree(write, touch, tmp_path):
    """Three videos of two subjects, named in three ways."""
    touch("2D/F001/T1", [f"{k:03d}.jpg" for k in range(20, 24)])
    touch("2D/F001/T2", [f"{k:04d}.JPG" for k in range(4)])
    touch("2D/m007/t8", [f"{k}.png" for k in range(4)])
    folder = "AUCoding/AU_OCC"
    write(f"{folder}/F001_T1.csv", [HEADER, row(21, au1=1, au12=1), row(22, au1=9)], "\r\n")
    write(f"{folder}/F001_T2.csv", [HEADER, row(1, au24=1), row(3), row(7)])
    write(f"{folder}/m007_t8.CSV", [HEADER, row(0, au1=1)])
    write("AUCoding/AU_INT/AU06/F001_T1_AU06.csv", ["21,3"])
    return tmp_path


def read(root, **options):
    return read_set(Bp4d(LabelOptions(**options)), root, options.get("labels"))


def messages(caplog):
    return [record.getMessage() for record in caplog.records]


def counts(labels: FrameLabels):
    """Active and known labels of each unit."""
    columns = labels.values.T
    return {
        unit: (int(np.nansum(column)), int((~np.isnan(column)).sum()))
        for unit, column in zip(UNITS, columns, strict=True)
    }


def test_what_is_found(tree, caplog):
    found = read(tree)
    assert found.units[:4] == ("AU01", "AU02", "AU04", "AU06") and len(found.units) == 12
    assert [(r.source.video, r.source.identity, r.source.key) for r in found.recordings] == [
        ("F001/T1", "F001", "2D/F001/T1"),
        ("F001/T2", "F001", "2D/F001/T2"),
        ("M007/T8", "M007", "2D/m007/t8"),
    ]
    first, second, third = (recording.labels for recording in found.recordings)
    assert [labels.frames.tolist() for labels in (first, second, third)] == [
        [21, 22],
        [1, 3, 7],
        [0],
    ]
    nothing = dict.fromkeys(UNITS, (0, 2))
    assert counts(first) == {**nothing, 1: (1, 1), 12: (1, 2)}
    assert counts(second) == {**dict.fromkeys(UNITS, (0, 3)), 24: (1, 3)}
    assert counts(third) == {**dict.fromkeys(UNITS, (0, 1)), 1: (1, 1)}
    assert found.recordings[1].pictures == {0, 1, 2, 3}
    assert found.folds == {"F001": "1", "M007": "1"}
    assert messages(caplog) == ["39 subjects of the BP4D lists are not there, as F002"]


@pytest.mark.parametrize("folder", ["AUCoding", "", "AUCoding/AUCoding"])
def test_older_releases_have_no_folder_for_occurrence(tree, folder):
    target = tree / folder
    target.mkdir(parents=True, exist_ok=True)
    for path in list((tree / "AUCoding/AU_OCC").iterdir()):
        path.rename(target / path.name)
    assert len(read(tree).recordings) == 3


def test_intensities_of_the_same_names_are_no_occurrence(tree, write):
    write("AU-Intensity-Codes3.0/06/F001_T1.csv", ["21,5"])
    write("AUCoding/AU_INT/F001_T1.csv", ["21,5"])
    assert len(read(tree).recordings) == 3


def test_labels_elsewhere_and_one_subject_alone(tree):
    (tree / "AUCoding").rename(tree / "codes")
    found = read(tree / "2D/F001", labels=tree / "codes/AU_OCC")
    assert [r.source.key for r in found.recordings] == ["T1", "T2"]
    found = read(tree / "2D", labels=tree / "codes")
    assert len(found.recordings) == 3


def test_folders_named_after_both(tree, touch):
    touch("faces/F003_T5", ["F003_T5_0007.jpg"])
    (tree / "AUCoding/AU_OCC/F003_T5.csv").write_text("\n".join([HEADER, row(7)]))
    found = read(tree)
    assert found.recordings[2].source.video == "F003/T5"
    assert found.recordings[2].pictures == {7}
    assert found.folds["F003"] == "2"


def test_what_has_no_counterpart_is_told(tree, touch, write, caplog):
    touch("2D/F002/T1", ["001.jpg"])
    touch("2D/F002/T2", ["001.jpg"])
    write("AUCoding/AU_OCC/F004_T3.csv", [HEADER, row(1)])
    assert len(read(tree).recordings) == 3
    assert messages(caplog)[:2] == [
        "1 videos have labels but no frames, as F004/T3",
        "2 videos have frames but no labels and are not packed, as F002/T1",
    ]


def test_a_subject_of_no_list_takes_no_part(tree, touch, write, caplog):
    touch("2D/F077/T1", ["001.jpg"])
    write("AUCoding/AU_OCC/F077_T1.csv", [HEADER, row(1)])
    assert read(tree).folds == {"F001": "1", "F077": "unused", "M007": "1"}
    assert "1 subjects are in no BP4D list: packed, but neither" in messages(caplog)[-1]


def test_the_folds_are_those_of_the_paper():
    folds = [fold.split() for fold in FOLDS]
    assert [len(fold) for fold in folds] == [14, 14, 13]
    everybody = [f"F{k:03d}" for k in range(1, 24)] + [f"M{k:03d}" for k in range(1, 19)]
    assert sorted(name for fold in folds for name in fold) == everybody


def test_renumbered_pictures(tree):
    assert read(tree, frame_offset=-1).recordings[0].labels.frames.tolist() == [20, 21]


@pytest.mark.parametrize("case", ["no labels", "no frames", "no folder", "nothing in common"])
def test_a_tree_that_does_not_match(tree, case):
    labels = tree / "AUCoding"
    frames = tree / "2D"
    reads = {
        "no labels": (frames, None, f"{frames}: no BP4D label files (AUCoding/AU_OCC/F001_T1.csv) "
                      "in any of the 6 folders below it"),
        "no frames": (labels, None, f"{labels}: no BP4D frames (folders F001/T1 of pictures) in "
                      "any of the 4 folders below it"),
        "no folder": (tree / "x", None, f"{tree / 'x'}: no such folder"),
        "nothing in common": (frames / "m007", labels / "AU_OCC", ""),
    }  # fmt: skip
    source, where, message = reads[case]
    if case == "nothing in common":
        (labels / "AU_OCC" / "m007_t8.CSV").unlink()
        message = (
            f"{source}: no BP4D video has both: labels are of F001/T1, F001/T2, frames of M007/T8"
        )
    with pytest.raises(ValueError) as caught:
        read(source, labels=where)
    assert str(caught.value) == message


def test_two_places_of_one_video(tree, touch, write):
    write("AUCoding/F001_T1.csv", [HEADER, row(1)])
    with pytest.raises(
        ValueError, match=r"two label files of F001/T1: .* and .*AU_OCC.*SOURCE and --labels"
    ):
        read(tree)
    (tree / "AUCoding/F001_T1.csv").unlink()
    touch("crops/F001/T1", ["1.jpg"])
    with pytest.raises(ValueError, match=r"two folders of pictures of F001/T1: .*2D.* and .*crops"):
        read(tree)


def test_pictures_whose_names_do_not_number_them(tree, touch):
    touch("2D/F001/T1", ["a_1.jpg", "b_1.jpg"])
    with pytest.raises(ValueError, match=r"2D/F001/T1: the last numbers in its pictures' names"):
        read(tree)


def test_no_label_belongs_to_a_picture(tree):
    with pytest.raises(ValueError, match=r"F001/T1 has labels 21 to 22 and pictures 20 to 23"):
        read(tree, frame_offset=1000)
