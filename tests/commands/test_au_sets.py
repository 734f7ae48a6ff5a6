"""Labelled data sets from their distributed form to the probe's results."""

from __future__ import annotations

import csv
import json
import re
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch

from tcae.data.align import DEFAULT_TEMPLATE
from tcae.data.crops import LANDMARK_COLUMNS
from tcae.data.labels import read_labels
from tcae.data.packing import remove_pack
from tcae.data.shards import PackedDataset
from tcae.evaluation import protocol
from tcae.evaluation.linear_probe import ProbeConfig
from tcae.models.encoder import Encoder
from tcae.models.encoder_file import save_encoder
from tcae.models.model_config import ModelConfig
from tcae.pack import main as pack_main
from tcae.probe import main as probe_main

BP4D = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)
DISFA = (1, 2, 4, 6, 9, 12, 25, 26)
GFT = (1, 2, 4, 6, 10, 12, 14, 15, 23, 24)
FRAMES = 6


def write_lines(path: Path, lines, end="\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(line + end for line in lines).encode())


def write_pictures(folder: Path, names) -> None:
    """Pictures of which each is brighter than the one before, with some noise of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for k, name in enumerate(names):
        random = np.random.default_rng([k, len(str(folder))])
        picture = 40 * k + random.integers(0, 20, (40, 40, 3))
        assert cv2.imwrite(str(folder / name), picture.astype(np.uint8))


def pack(root: Path, out: Path, *options: str) -> int:
    words = [str(root), "--out", str(out), "--image-size", "32", "--workers", "1"]
    return pack_main([*words, *map(str, options)])


@pytest.fixture
def probe(tmp_path, monkeypatch):
    """Function that probes a packed set with an untrained encoder and gives summary and table."""
    monkeypatch.setattr(protocol, "ProbeConfig", lambda: ProbeConfig(steps=30))
    torch.manual_seed(0)
    config = ModelConfig(base_filters=4, embedding_size=8)
    path = tmp_path / "encoder.safetensors"
    save_encoder(path, Encoder(config, 32), DEFAULT_TEMPLATE.to_dict())

    def run(data: Path, *options: str):
        out = tmp_path / "probe"
        words = ["--data", str(data), "--encoder", str(path), "--out", str(out), "--overwrite"]
        assert probe_main([*words, "--device", "cpu", *options]) == 0
        with open(out / "predictions.csv", newline="") as file:
            predictions = list(csv.DictReader(file))
        return json.loads((out / "summary.json").read_text()), predictions

    return run


def table_of(out: Path) -> dict[str, dict[str, str]]:
    with open(out / "labels.csv", newline="") as file:
        return {row["frame"]: row for row in csv.DictReader(file)}


def summary_of(out: Path) -> dict[str, float]:
    return json.loads((out / "summary.json").read_text())


# BP4D --------------------------------------------------------------------------------------------


@pytest.fixture
def bp4d(tmp_path) -> Path:
    """Two subjects in each fold and one in none, one video each of six frames.

    AU 12 is active in the last three frames, AU 1 unknown in the first, AU 4 unknown everywhere,
    the second frame has no label, and the label of a seventh has no frame.
    """
    root = tmp_path / "BP4D"
    subjects = ("F001", "F002", "F003", "F005", "F004", "M003", "M099")
    for i, subject in enumerate(subjects):
        digits = 3 + i % 2
        names = [f"{k:0{digits}d}.jpg" for k in range(10, 10 + FRAMES)]
        write_pictures(root / "2D" / subject / "T1", names)
        header = ",".join(map(str, ("0", *BP4D)))
        rows = []
        for k in (0, *range(2, FRAMES + 1)):
            codes = {12: int(k >= 3), 1: 9 if k == 0 else k % 2, 4: 9}
            rows.append(",".join(str(c) for c in (10 + k, *(codes.get(u, 0) for u in BP4D))))
        write_lines(root / "AUCoding/AU_OCC" / f"{subject}_T1.csv", [header, *rows], "\r\n")
    return root


def test_bp4d(bp4d, tmp_path, probe, capfd):
    out = tmp_path / "out"
    assert pack(bp4d, out, "--dataset", "bp4d", "--aligned") == 0
    counts = summary_of(out)
    assert counts["faces"] == 7 * 6
    assert counts["labelled_faces"] == 7 * 5 and counts["faces_without_label"] == 7
    assert counts["labels_without_frame"] == 7 and counts["labels_without_face"] == 0
    assert (counts["known_AU12"], counts["positive_AU12"]) == (35, 21)
    assert (counts["known_AU01"], counts["positive_AU01"]) == (28, 14)
    assert counts["known_AU04"] == counts["positive_AU04"] == counts["positive_AU24"] == 0
    text = capfd.readouterr()
    assert "35 labelled faces, 7 without a label; 7 labels without a frame, 0" in text.out
    assert "AU12 21 of 35" in text.out and "M099" in text.err
    table = table_of(out)
    assert list(table["F001/T1/0/13"].values())[:8] == [
        *("F001/T1/0/13", "F001", "1", "0", "", "0", "0", "0")
    ]
    dataset = PackedDataset(out)
    names = [dataset.name(i) for i in read_labels(out / "labels.csv", dataset).frame_index]
    assert names == list(table) and len(names) == 35
    assert json.loads((out / "dataset.json").read_text())["settings"]["dataset"] == "bp4d"

    numbers, predictions = probe(out)
    text = capfd.readouterr()
    assert f"folds are those of {out / 'folds.csv'}" in text.out
    assert "1 subjects are in no fold and take no part, as M099" in text.err
    assert (numbers["folds"], numbers["subjects"], numbers["frames"]) == (3, 6, 30)
    folds = {row["subject"]: row["fold"] for row in predictions}
    expected = {"F001": "0", "F002": "0", "F003": "1", "F005": "1", "F004": "2", "M003": "2"}
    assert folds == expected
    assert {row["frame"] for row in predictions} == {n for n in names if "M099" not in n}
    assert numbers["auc_AU12"] > 0.9  # brightness gives it away
    assert probe(out, "--folds", "2")[0]["subjects"] == 7


def test_a_label_of_nothing_known_is_none(bp4d, tmp_path):
    lines = [",".join(map(str, ("0", *BP4D))), ",".join(["10", *"9" * 12]), "11" + ",0" * 12]
    write_lines(bp4d / "AUCoding/AU_OCC/F001_T1.csv", lines)
    assert pack(bp4d, tmp_path / "out", "--dataset", "bp4d", "--aligned") == 0
    assert [name for name in table_of(tmp_path / "out") if "F001" in name] == ["F001/T1/0/11"]
    counts = summary_of(tmp_path / "out")
    assert (counts["labelled_faces"], counts["faces_without_label"]) == (31, 11)
    assert (counts["labels_without_frame"], counts["labels_without_face"]) == (6, 0)


def test_labels_may_change_without_packing_again(bp4d, tmp_path, capfd):
    out = tmp_path / "out"
    assert pack(bp4d, out, "--dataset", "bp4d", "--aligned") == 0
    stamps = {path: path.stat().st_mtime_ns for path in (out / "shards").glob("*-*")}
    assert pack(bp4d, out, "--dataset", "bp4d", "--aligned", "--frame-offset", "-1") == 0
    assert {path: path.stat().st_mtime_ns for path in (out / "shards").glob("*-*")} == stamps
    # The first label's frame is gone now, the seventh's is there.
    assert table_of(out)["F001/T1/0/15"]["AU01"] == "0"
    counts = summary_of(out)
    assert counts["labelled_faces"] == 35 and counts["labels_without_frame"] == 7
    capfd.readouterr()
    assert pack(bp4d / "2D/F001", out, "--dataset", "bp4d", "--aligned", "--labels", bp4d) == 0
    assert "6 packed videos, as F002/T1, are not in SOURCE" in capfd.readouterr().err
    assert len(table_of(out)) == 5


# DISFA -------------------------------------------------------------------------------------------


def write_disfa_labels(root: Path, subject: str, frames: int = FRAMES) -> None:
    """AU 12 rises from 0 to 5, AU 26 is 2 in the third frame, AU 1 unknown in the fourth."""
    for unit in (*DISFA, 5, 15, 17, 20):
        codes = {12: [*range(6), *[5] * frames], 26: [0, 0, 2, 0], 1: [0, 0, 0, 9]}.get(unit, [])
        codes = [*codes, *[0] * frames][:frames]
        lines = [f"{k + 1},{code}" for k, code in enumerate(codes)]
        write_lines(root / f"ActionUnit_Labels/{subject}/{subject}_au{unit}.txt", lines, "\r\n")


def active(out: Path, unit: str) -> list[str]:
    return sorted(name for name, row in table_of(out).items() if row[unit] == "1")


def test_disfa_from_videos(write_video, tmp_path, probe):
    root, out = tmp_path / "DISFA", tmp_path / "out"
    points = [",".join(LANDMARK_COLUMNS)]
    for i, subject in enumerate(("SN001", "SN002", "SN006", "SN003")):
        name = f"{'Left' if i % 2 else 'left'}Video{subject}_comp.{'AVI' if i % 2 else 'avi'}"
        write_video(root / "Videos_LeftCamera" / name, frames=FRAMES, seed=i)
        write_video(root / "Videos_RightCamera" / name.replace("eft", "ight"), frames=1)
        write_disfa_labels(root, subject)
        for frame in range(FRAMES):
            if (subject, frame) != ("SN006", 4):  # the only frame in which no face is found
                face = (DEFAULT_TEMPLATE.pixels(40) + i).round(2).ravel()
                row = (f"Videos_LeftCamera/{name}", frame, *face)
                points.append(",".join(map(str, row)))
    write_lines(tmp_path / "points.csv", points)
    assert pack(root, out, "--dataset", "disfa", "--landmarks", tmp_path / "points.csv") == 0
    counts = summary_of(out)
    assert (counts["faces"], counts["labelled_faces"]) == (23, 23)
    assert (counts["labels_without_face"], counts["labels_without_frame"]) == (1, 0)
    assert (counts["known_AU12"], counts["positive_AU12"]) == (23, 15)
    assert (counts["known_AU01"], counts["positive_AU01"]) == (19, 0)
    assert active(out, "AU26") == [f"{s}/0/2" for s in ("SN001", "SN002", "SN003", "SN006")]
    first = [name for name in active(out, "AU12") if name.startswith("SN001")]
    assert first == [f"SN001/0/{k}" for k in (2, 3, 4, 5)]
    numbers, predictions = probe(out)
    assert (numbers["folds"], numbers["frames"], numbers["subjects"]) == (3, 23, 4)
    assert {row["subject"]: row["fold"] for row in predictions} == {
        "SN001": "0", "SN002": "0", "SN006": "1", "SN003": "2",
    }  # fmt: skip


@pytest.mark.parametrize(("first", "digits"), [(0, 3), (1, 4)])
def test_disfa_from_extracted_pictures(tmp_path, first, digits):
    root, out = tmp_path / "DISFA", tmp_path / "out"
    for subject in ("SN001", "SN006"):
        names = [f"{subject}_{k + first:0{digits}d}.png" for k in range(FRAMES)]
        write_pictures(root / "Images/Left" / subject, names)
        write_disfa_labels(root, subject)
    assert pack(root, out, "--dataset", "disfa", "--aligned") == 0
    assert active(out, "AU26") == [f"{s}/0/{2 + first}" for s in ("SN001", "SN006")]
    dataset = PackedDataset(out)
    table = read_labels(out / "labels.csv", dataset)
    third = [i for i, row in zip(table.frame_index, table.values, strict=True) if row[-1] == 1]
    assert [round(dataset.read(int(i)).mean() / 40) for i in third] == [2, 2]  # as written above


def test_a_video_that_is_not_as_long_as_its_labels(write_video, tmp_path, capfd):
    root, out = tmp_path / "DISFA", tmp_path / "out"
    write_video(root / "v/LeftVideoSN010_comp.avi", frames=FRAMES - 1)
    write_video(root / "v/LeftVideoSN011_comp.avi", frames=FRAMES)
    for subject in ("SN010", "SN011"):
        write_disfa_labels(root, subject)
    assert pack(root, out, "--dataset", "disfa", "--aligned") == 0
    assert "1 videos are not as long as their labels, as SN010 with 5" in capfd.readouterr().err
    counts = summary_of(out)
    assert (counts["labelled_faces"], counts["labels_without_frame"]) == (11, 1)


def test_labels_behind_a_gap_stay_on_their_frames(tmp_path, capfd):
    """The second frame was dropped: AVI numbers the others as if it were there."""
    root, out = tmp_path / "DISFA", tmp_path / "out"
    write_disfa_labels(root, "SN001")
    with av.open(str(root / "LeftVideoSN001_comp.avi"), "w") as container:
        stream = container.add_stream("mjpeg", rate=20)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for number in (0, 2, 3, 4, 5):
            grey = np.full((48, 64, 3), 40 * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 20)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert pack(root, out, "--dataset", "disfa", "--aligned") == 0
    assert active(out, "AU26") == ["SN001/0/2"]
    dataset = PackedDataset(out)
    table = read_labels(out / "labels.csv", dataset)
    (third,) = [i for i, row in zip(table.frame_index, table.values, strict=True) if row[-1] == 1]
    assert dataset.read(int(third)).mean() == pytest.approx(80, abs=3)
    errors = capfd.readouterr().err
    assert "5 pictures in 6 frames of 20 a second" in errors
    assert "not as long as their labels" not in errors
    counts = summary_of(out)
    assert (counts["labels_without_face"], counts["labels_without_frame"]) == (1, 0)


# GFT ---------------------------------------------------------------------------------------------


def test_gft(tmp_path, probe):
    root, out = tmp_path / "GFT", tmp_path / "out"
    for subject in ("001A", "001B", "001C", "002A", "099A"):
        write_pictures(root / "images" / subject.lower(), [f"{k}.jpg" for k in range(FRAMES)])
        smiles = [0, 0, 0, 1, 1, -9]
        rows = [
            ",".join(str(c) for c in (k + 1, *(smile if unit == 12 else 0 for unit in GFT)))
            for k, smile in enumerate(smiles)
        ]
        header = ",".join(("frame", *(f"AU{unit}" for unit in GFT)))
        write_lines(root / "aucoding" / f"{subject}.csv", [header, *rows], "\r\n")
    write_lines(root / "train_subjects.txt", ["001A", "001B", "001C"], "\r\n")
    write_lines(tmp_path / "tested.txt", ["002a"])
    lists = ("--gft-test", tmp_path / "tested.txt")
    assert pack(root, out, "--dataset", "gft", "--aligned", *lists) == 0
    counts = summary_of(out)
    assert (counts["known_AU12"], counts["positive_AU12"], counts["labelled_faces"]) == (25, 10, 30)
    assert active(out, "AU12")[:2] == ["001A/0/3", "001A/0/4"]
    numbers, predictions = probe(out)
    assert (numbers["folds"], numbers["subjects"]) == (1, 4)
    assert (numbers["frames"], numbers["frames_tested"]) == (24, 6)
    tested = [row["subject"] for row in predictions if row["AU12_score"]]
    assert tested == ["002A"] * 6


# Mistakes ----------------------------------------------------------------------------------------


def error_of(capfd, *words: object) -> str:
    capfd.readouterr()
    assert pack_main([str(word) for word in words]) == 2
    *warnings, line = capfd.readouterr().err.splitlines()
    assert all(": warning: " in text for text in warnings) and ": error: " in line
    return line


def test_mistakes_are_one_line(bp4d, tmp_path, capfd):
    out = tmp_path / "out"
    common = [bp4d, "--out", out, "--aligned", "--workers", 1, "--image-size", 32]
    line = error_of(capfd, *common, "--dataset", "disfa")
    assert "no DISFA label files (ActionUnit_Labels/SN001/SN001_au1.txt) in any of the 18" in line
    assert "--fps and --dataset" in error_of(capfd, *common, "--dataset", "bp4d", "--fps", 5)
    assert "need --dataset" in error_of(capfd, *common, "--unknown-codes", 9, -9)
    line = error_of(capfd, *common, "--dataset", "bp4d", "--unknown-codes", 1)
    assert "--unknown-codes: 1 is a label" in line
    assert not out.exists()
    line = error_of(capfd, *common, "--dataset", "bp4d", "--unknown-codes", -9)
    assert re.search(r"F001_T1.csv:2: holds '9'; it must be from 0 to 1", line)
    face = ",".join(map(str, DEFAULT_TEMPLATE.pixels(40).ravel()))
    row = f"2D/F002/T1,11,{face}"
    write_lines(tmp_path / "points.csv", [",".join(LANDMARK_COLUMNS), row, row])
    words = [bp4d, "--out", out, "--landmarks", tmp_path / "points.csv", "--dataset", "bp4d"]
    assert "2 faces in frame 11 of 2D/F002/T1; with --dataset only the" in error_of(capfd, *words)


def test_tables_of_others_are_kept(bp4d, tmp_path, capfd):
    out = tmp_path / "out"
    out.mkdir()
    (out / "labels.csv").write_text("mine")
    common = [bp4d, "--out", out, "--aligned", "--workers", 1, "--image-size", 32]
    line = error_of(capfd, *common, "--dataset", "bp4d")
    assert "labels.csv: is there already; --overwrite replaces it" in line
    assert pack(bp4d / "2D", out, "--aligned") == 0
    assert "dataset None, not bp4d" in error_of(capfd, *common, "--dataset", "bp4d")
    assert (out / "labels.csv").read_text() == "mine"
    assert pack(bp4d, out, "--aligned", "--dataset", "bp4d", "--overwrite") == 0
    assert len(table_of(out)) == 35
    assert pack(bp4d / "2D", out, "--aligned", "--overwrite") == 0
    remove_pack(out)
    assert {path.name for path in out.iterdir()} == {"labels.csv", "folds.csv"}
    assert pack(bp4d / "2D", out, "--aligned") == 0
