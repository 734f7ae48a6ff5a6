from __future__ import annotations

import cv2
import numpy as np
import pytest

import tcae
from tcae.live.reader import PictureReader


@pytest.fixture(scope="module")
def read(detector) -> PictureReader:
    return PictureReader()


def test_pictures_are_read_as_analyse_does(read, files) -> None:
    for name, faces in (("face.png", 1), ("two.png", 2)):
        picture = cv2.imread(str(files / name))[..., ::-1]
        told = read(np.ascontiguousarray(picture)).faces
        table = tcae.analyse(files / name)
        assert len(told) == len(table) == faces
        for face, (_, row) in zip(told, table.iterrows(), strict=True):
            wanted = [row[f"{unit}_p"] for unit in read.units]
            assert face.probabilities == pytest.approx(wanted)
            assert list(face.present) == [row[f"{unit}_c"] == 1 for unit in read.units]
            assert face.pose == pytest.approx([row[angle] for angle in ("pitch", "yaw", "roll")])
            assert face.confidence == pytest.approx(row["confidence"])
            left, top, right, bottom = face.face.box
            box = [row[f"face_{name}"] for name in "xywh"]
            assert [left, top, right - left, bottom - top] == pytest.approx(box)


def test_a_neutral_face_is_taken_off_as_analyse_does(read, files, scenes) -> None:
    rgb = scenes(3)[9]
    rest = read(scenes(3)[0]).faces[0].logits
    [face] = read(rgb, rest).faces
    [plain] = read(rgb).faces
    table = tcae.analyse(rgb, neutral=files / "face.png")
    wanted = [table[f"{unit}_p"][0] for unit in read.units]
    assert face.probabilities == pytest.approx(wanted)
    assert face.probabilities != pytest.approx(plain.probabilities, abs=0.01)
    assert face.logits == pytest.approx(plain.logits)


def test_nobody_is_nothing(read) -> None:
    assert read(np.full((120, 160, 3), 90, np.uint8)) == ([], [])


def test_what_is_odd_is_told(read, scenes) -> None:
    rgb = scenes(3)[0][60:190, 95:225]
    assert any("leave the picture" in line for line in read(np.ascontiguousarray(rgb)).remarks)
