"""Real talking faces, from packages that ship clips; skipped where these cannot be had."""

from __future__ import annotations

import csv

import cv2
import numpy as np
import pytest

from tcae.data.align import DEFAULT_TEMPLATE
from tcae.data.detectors import make_detector
from tcae.data.face_tracks import Tracker
from tcae.data.labels import read_labels
from tcae.data.pairs import PairBatches, PairsConfig
from tcae.data.shards import PackedDataset
from tcae.data.video import read_frames
from tcae.pack import main

pytestmark = pytest.mark.usefixtures("detector")


@pytest.fixture(scope="module")
def packed(real_clips, tmp_path_factory):
    out = tmp_path_factory.mktemp("packed") / "clips"
    status = main([str(real_clips), "--out", str(out), "--fps", "5", "--image-size", "64"])
    return status, out


def test_every_clip_is_accounted_for(packed):
    status, out = packed
    assert status == 1  # no_face.mp4 has no face
    with open(out / "manifest.csv", newline="") as file:
        rows = {row["video"]: row for row in csv.DictReader(file)}
    found = {
        name: (row["status"], int(row["frames"]), int(row["faces"]), int(row["tracks"]))
        for name, row in rows.items()
    }
    # 120, 72, 169, 169 and 95 frames at 30, 30, 26.4, 26.5 and 23.7 per second, five taken each.
    assert found == {
        "carphone_pristine": ("packed", 20, 20, 1),
        "single_face": ("packed", 12, 12, 1),
        "face_noface": ("packed", 32, 12, 1),
        "noface_face": ("packed", 32, 12, 1),
        "no_face": ("no face", 20, 0, 0),
    }


def test_gaps_are_where_the_face_is_gone(packed):
    dataset = PackedDataset(packed[1])
    frames = {}
    for i in range(len(dataset)):
        video, _, number = dataset.name(i).split("/")
        frames.setdefault(video, []).append(int(number))
    # These two are single_face (72 frames) before and after a clip without a face (97 frames).
    assert max(frames["face_noface"]) < 72
    assert min(frames["noface_face"]) >= 95


def test_faces_are_aligned(packed):
    """A second look at the crops: the detector finds the points where the template has them."""
    dataset = PackedDataset(packed[1])
    find = make_detector()
    errors = []
    for i in range(0, len(dataset), 3):
        large = cv2.resize(dataset.read(i), (256, 256), interpolation=cv2.INTER_CUBIC)
        faces = find(large)
        assert len(faces) == 1
        errors.append(np.abs(faces[0].points - DEFAULT_TEMPLATE.pixels(256)).mean())
    assert np.mean(errors) < 8  # of 256 pixels; a similarity cannot fit every face's proportions


def test_every_frame_has_one_face_in_one_track(real_clips):
    find, tracker = make_detector(), Tracker()
    for frame in read_frames(real_clips / "carphone_pristine.mp4", 10):
        faces = find(frame.rgb)
        assert tracker.update(frame.rgb, frame.timestamp, faces) == [0]
        (face,) = faces
        left_eye, right_eye, nose, left_mouth, right_mouth = face.points
        assert left_eye[0] < right_eye[0]  # the nose may lie outside: he turns his head
        assert left_mouth[0] < right_mouth[0]
        assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


def test_pairs_and_labels_of_real_faces(packed, tmp_path):
    dataset = PackedDataset(packed[1])
    pairs = PairBatches(dataset, "train", 4, seed=0, config=PairsConfig(split="time"))
    batch = pairs[0]
    assert batch["source"].shape == (4, 3, 64, 64)
    difference = batch["source"].float() - batch["target"].float()
    assert 1 < difference.abs().mean() < 60
    path = tmp_path / "labels.csv"
    path.write_text("frame,subject,AU12\nsingle_face/0,man,0\nsingle_face/66,man,1\n")
    assert read_labels(path, dataset).values.ravel().tolist() == [0, 1]
