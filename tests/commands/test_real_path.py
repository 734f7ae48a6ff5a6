"""The main path on real faces: pack, train, extract; skipped where the clips cannot be had."""

from __future__ import annotations

import csv
import json

import pytest

from tcae import extract, pack, train

pytestmark = pytest.mark.usefixtures("detector")


@pytest.fixture(scope="module")
def run(real_clips, tmp_path_factory):
    folder = tmp_path_factory.mktemp("real")
    packed, out = folder / "packed", folder / "run"
    sizes = ["--image-size", "32", "--batch-size", "16", "--steps", "400"]
    model = ["--model.base-filters", "8", "--model.embedding-size", "32"]
    ramp = ["--objective.ramp-start", "120", "--objective.ramp-steps", "60"]
    assert pack.main([str(real_clips), "--out", str(packed), "--fps", "30"]) == 1  # no_face.mp4
    words = ["--data", str(packed), "--out", str(out), "--pairs.split", "time"]
    assert train.main([*words, *sizes, *model, *ramp]) == 0
    return out


def test_the_reconstruction_beats_the_unmoved_source(run):
    summary = json.loads((run / "summary.json").read_text())
    assert summary["steps"] == 400
    assert summary["recon_l1"] < 0.95 * summary["identity_l1"]


def test_the_encoder_turns_a_video_into_a_table(run, real_clips, tmp_path):
    table = tmp_path / "table.csv"
    clips = [str(real_clips / name) for name in ("carphone_pristine.mp4", "face_noface.mov")]
    assert extract.main([*clips, "--encoder", str(run), "--out", str(table)]) == 0
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    by_video = {clip: [row for row in rows if row["video"] == clip] for clip in clips}
    assert [int(row["frame"]) for row in by_video[clips[0]]] == list(range(120))
    assert all(row["success"] == "1" for row in by_video[clips[0]])
    shown = [row["success"] == "1" for row in by_video[clips[1]]]
    assert len(shown) == 169 and all(shown[:70]) and not any(shown[75:])
    values = {name: [row[name] for row in rows if row["success"] == "1"] for name in rows[0]}
    moving = [name for name in values if name.startswith(("au_", "pose_"))]
    assert len(moving) == 32 + 16
    assert all(len(set(values[name])) > 100 for name in moving)


def test_a_labelled_set_of_videos_with_its_undetected_faces(real_clips, tmp_path):
    root, out = tmp_path / "DISFA", tmp_path / "out"
    clips = {"SN001": ("single_face.mp4", 72), "SN006": ("face_noface.mov", 169)}
    for subject, (clip, frames) in clips.items():
        video = root / f"Video_LeftCamera/LeftVideo{subject}_comp{clip[-4:]}"
        video.parent.mkdir(parents=True, exist_ok=True)
        video.symlink_to(real_clips / clip)
        for unit in (1, 2, 4, 6, 9, 12, 25, 26):
            path = root / f"ActionUnit_Labels/{subject}/{subject}_au{unit}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(f"{k},{5 * (k == 10)}\r\n" for k in range(1, frames + 1)))
    words = [str(root), "--out", str(out), "--dataset", "disfa", "--image-size", "32"]
    assert pack.main(words) == 0
    counts = json.loads((out / "summary.json").read_text())
    assert counts["frames"] == 72 + 169 and counts["tracks"] == 2
    assert counts["labelled_faces"] + counts["labels_without_face"] == 72 + 169
    assert 169 - 75 <= counts["labels_without_face"] <= 169 - 70
    assert counts["labels_without_frame"] == counts["faces_without_label"] == 0
    with open(out / "labels.csv", newline="") as file:
        active = [row["frame"] for row in csv.DictReader(file) if row["AU12"] == "1"]
    assert active == ["SN001/0/9", "SN006/0/9"]
