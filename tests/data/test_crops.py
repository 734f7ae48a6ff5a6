from __future__ import annotations

import os
from dataclasses import replace

import cv2
import numpy as np
import pytest

from tcae.data.align import DEFAULT_TEMPLATE, align
from tcae.data.crops import LANDMARK_COLUMNS, CropConfig, Cropper, read_landmarks
from tcae.data.faces import Face
from tcae.data.sources import find_sources
from tcae.data.video import read_frames

HEADER = ",".join(LANDMARK_COLUMNS) + "\n"
ALIGNED = CropConfig(32, DEFAULT_TEMPLATE, 1.0, "aligned")
LANDMARKS = CropConfig(32, DEFAULT_TEMPLATE, 1.0, "landmarks")


def test_aligned_pictures_are_resized_from_their_central_square(tmp_path):
    x = np.repeat(np.arange(96, dtype=np.uint8)[None, :, None], 64, 0).repeat(3, 2)
    (tmp_path / "ann" / "v").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "ann" / "v" / "5.png"), x)
    (source,) = find_sources(tmp_path)
    ((number, _, (crop,), _),) = Cropper(ALIGNED)(source)
    assert number == crop.frame == 5
    assert crop.track == "0"
    # Columns 16..79 of 96, two by two.
    expected = np.arange(16, 80).reshape(32, 2).mean(1)
    assert np.abs(crop.rgb[:, :, 0] - expected).max() <= 0.5


def three_faces(rgb):
    sides = [10, 30, 20]
    return [Face(np.array([5, 5, 5 + s, 5 + s]), DEFAULT_TEMPLATE.pixels(s), 0.9) for s in sides]


def test_a_folder_of_pictures_has_the_largest_face_in_one_track(tmp_path, monkeypatch):
    monkeypatch.setattr("tcae.data.crops.make_detector", lambda name: three_faces)
    for k in range(3):
        path = tmp_path / "ann" / "v" / "7_folder" / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.random.default_rng(k).integers(0, 256, (50, 50, 3), np.uint8))
    (source,) = find_sources(tmp_path)
    frames = list(Cropper(CropConfig(32, DEFAULT_TEMPLATE, 1.0, "mtcnn"))(source))
    assert len(frames) == 3
    for frame in frames:
        (crop,) = frame.crops
        assert crop.track == "7_folder"
        assert crop.face.box.tolist() == [5, 5, 35, 35]


def test_every_face_of_a_still_counts_from_the_largest(tmp_path, monkeypatch):
    monkeypatch.setattr("tcae.data.crops.make_detector", lambda name: three_faces)
    for k in (3, 4):
        cv2.imwrite(str(tmp_path / f"{k}.png"), np.full((50, 50, 3), 40 * k, np.uint8))
    config = CropConfig(32, DEFAULT_TEMPLATE, 1.0, "mtcnn")
    (folder,), (single,) = find_sources(tmp_path), find_sources(tmp_path / "3.png")
    (one,) = Cropper(config)(single)
    several = list(Cropper(replace(config, stills=True))(folder))
    assert [frame.file for frame in several] == [tmp_path / "3.png", tmp_path / "4.png"]
    for frame in (one, *several):
        assert [crop.track for crop in frame.crops] == ["0", "1", "2"]
        assert [crop.face.box[2] for crop in frame.crops] == [35, 25, 15]
    assert [frame.file for frame in Cropper(config)(folder)] == [None, None]  # of one person


def test_a_video_of_a_labelled_set_has_one_person(write_video, tmp_path, monkeypatch):
    def detect(rgb):
        return [Face(np.array([0, 0, s, s]), DEFAULT_TEMPLATE.pixels(s), 0.9) for s in (10, 40, 20)]

    monkeypatch.setattr("tcae.data.crops.make_detector", lambda name: detect)
    (source,) = find_sources(write_video(tmp_path / "SN001.mp4", frames=4))
    config = CropConfig(32, DEFAULT_TEMPLATE, None, "mtcnn", dataset="disfa")
    found = [(frame.number, crop.track, crop.face.box[2]) for frame in Cropper(config)(source)
             for crop in frame.crops]  # fmt: skip
    assert found == [(k, "0", 40) for k in range(4)]
    several = Cropper(CropConfig(32, DEFAULT_TEMPLATE, None, "mtcnn"))(source)
    assert [len(frame.crops) for frame in several] == [3] * 4


def table(path, rows, extra=()):
    lines = [",".join([*LANDMARK_COLUMNS, *extra]), *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines))
    return path


def test_landmarks_from_a_table(write_video, tmp_path):
    video = write_video(tmp_path / "v" / "ann" / "news.mp4", frames=4, fps=1)
    one = (DEFAULT_TEMPLATE.pixels(30) + 3).round(3)
    two = (DEFAULT_TEMPLATE.pixels(20) + 20).round(3)
    rows = [
        ["ann/news.mp4", 0, *one.ravel(), "left", 0.5],
        ["ann/news.mp4", 0, *two.ravel(), "right", ""],
        ["ann/news.mp4", 2, *two.ravel(), "right", 1],
        ["other.mp4", 1, *two.ravel(), "", ""],
    ]
    landmarks = read_landmarks(table(tmp_path / "l.csv", rows, ["track", "confidence"]))
    assert landmarks.keys() == {"ann/news.mp4", "other.mp4"}
    assert landmarks["other.mp4"][1][0][0] == "0"
    (source,) = find_sources(tmp_path / "v")
    frames = list(Cropper(LANDMARKS)(source, landmarks[source.key]))
    found = [[(c.track, c.face.confidence) for c in frame.crops] for frame in frames]
    assert found == [[("left", 0.5), ("right", 1.0)], [], [("right", 1.0)], []]
    rgb = next(read_frames(video)).rgb
    assert np.array_equal(frames[0].crops[0].rgb, align(rgb, one, DEFAULT_TEMPLATE, 32))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "column video is missing"),
        ("video,frame,left_eye_x\n", "column left_eye_y is missing"),
        (HEADER + "a,0" + ",1" * 9 + ",x\n", "l.csv:2: could not convert"),
        (HEADER + "a,0" + ",1" * 9 + ",nan\n", "l.csv:2: a point is not finite"),
        (HEADER + "a,0" + ",1" * 9 + "\n", "l.csv:2: "),
        (HEADER + "a,1.5" + ",1" * 10 + "\n", "l.csv:2: invalid literal"),
    ],
)
def test_mistakes_in_a_table_are_named(tmp_path, text, message):
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(ValueError) as error:
        read_landmarks(tmp_path / "l.csv")
    assert message in str(error.value)
    assert "l.csv" in str(error.value)


def test_points_on_one_spot_are_no_face(write_video, tmp_path):
    write_video(tmp_path / "v.mp4", frames=1)
    (source,) = find_sources(tmp_path)
    landmarks = read_landmarks(table(tmp_path / "l.csv", [["v.mp4", 0, *[7.0] * 10]]))
    assert [frame.crops for frame in Cropper(LANDMARKS)(source, landmarks["v.mp4"])] == [[]]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_landmarks_as_programs_write_them(tmp_path, separator):
    header = separator.join(["", *LANDMARK_COLUMNS])
    row = separator.join(map(str, [0, "caf\udce9.mp4", 3, *[7.5] * 10]))
    text = f"\ufeff{header}\r\n{row}\r\n"
    (tmp_path / "l.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    landmarks = read_landmarks(tmp_path / "l.csv")
    assert landmarks.keys() == {os.fsdecode(b"caf\xe9.mp4")}
    ((_, face),) = landmarks[os.fsdecode(b"caf\xe9.mp4")][3]
    assert np.array_equal(face.points, np.full((5, 2), 7.5))
