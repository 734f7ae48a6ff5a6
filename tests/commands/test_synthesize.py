from __future__ import annotations

import csv
import json

import cv2
import numpy as np
import pytest

from tcae.data.labels import read_labels
from tcae.data.pairs import PairBatches
from tcae.data.shards import PackedDataset
from tcae.data.synthetic.expression import ACTION_UNITS
from tcae.data.synthetic.packed import default_world, world_of
from tcae.data.synthetic.world import World
from tcae.synthesize import main

SMALL = ["--identities", "6", "--frames", "4", "--image-size", "32"]


def synthesize(out, *words):
    return main(["--out", str(out), *SMALL, "--workers", "1", *words])


def pictures(out):
    dataset = PackedDataset(out)
    assert dataset.failures == []
    return {dataset.name(i): dataset.read(i).tobytes() for i in range(len(dataset))}


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    out = tmp_path_factory.mktemp("world") / "faces"
    assert synthesize(out) == 0
    return out


def test_a_packed_set_like_any_other(packed):
    dataset = PackedDataset(packed)
    assert len(dataset) == 6 * 2 * 4
    assert [dataset.name(i) for i in (0, 4)] == ["p000000/0/0/0", "p000000/1/0/0"]
    assert dataset.identity(0) == "p000000"
    assert dataset.frames["timestamp"][:4].tolist() == pytest.approx([0, 0.2, 0.4, 0.6])
    batch = PairBatches(dataset, "train", 4, seed=0)[0]
    assert batch["source"].shape == (4, 3, 32, 32)


def test_labels_are_the_rendered_intensities(packed):
    dataset = PackedDataset(packed)
    labels = read_labels(packed / "labels.csv", dataset)
    assert labels.names == ACTION_UNITS
    assert len(labels.values) == len(dataset)
    with open(packed / "truth.csv", newline="") as file:
        truth = list(csv.DictReader(file))
    assert [row["frame"] for row in truth] == [dataset.name(i) for i in range(len(dataset))]
    world = world_of(packed)
    for index, row in enumerate(truth):
        identity, video, _, frame = row["frame"].split("/")
        state = world.video(int(identity[1:]), int(video)).state(int(frame))
        strength = state.intensities.mean(1)
        assert [float(row[f"{unit}_r"]) for unit in ACTION_UNITS] == pytest.approx(
            strength, abs=1e-4
        )
        assert [float(row[k]) for k in ("yaw", "pitch", "roll")] == pytest.approx(
            state.pose, abs=1e-4
        )
        assert row["subject"] == labels.subjects[index] == identity
        expected = np.where(strength >= 0.4, 1.0, np.where(strength < 0.05, 0.0, np.nan))
        assert np.array_equal(labels.values[index], expected.astype(np.float32), equal_nan=True)


def test_packed_pictures_are_those_of_the_world(packed):
    """Up to the JPEG file's loss."""
    dataset, world = PackedDataset(packed), world_of(packed)
    video = world.video(2, 1)
    index = [dataset.name(i) for i in range(len(dataset))].index("p000002/1/0/3")
    rendered = video.picture(video.state(3), 3)
    assert np.abs(dataset.read(index).astype(int) - rendered).mean() < 4


def test_the_set_does_not_depend_on_the_number_of_workers(packed, tmp_path):
    assert synthesize(tmp_path / "three", "--workers", "3") == 0
    assert pictures(packed) == pictures(tmp_path / "three")
    for name in ("labels.csv", "truth.csv"):
        assert (packed / name).read_bytes() == (tmp_path / "three" / name).read_bytes()


def test_sheets_to_look_at(packed):
    shapes = {p.stem: cv2.imread(str(p)).shape for p in (packed / "sheets").glob("*.png")}
    assert shapes["people"] == (32, 6 * 32, 3)
    assert shapes["moments"] == (12 * 32, 4 * 32, 3)
    assert shapes["units"] == (6 * 32, (1 + len(ACTION_UNITS)) * 32, 3)


def test_options_are_kept_with_the_set(tmp_path):
    out = tmp_path / "out"
    words = ["--identities", "1", "--motion.yaw", "25", "--expression.rates.AU12", "0.9"]
    assert synthesize(out, *words, "--camera.no-upright") == 0
    world = world_of(out)
    assert world.motion.yaw == 25 and world.expression.rates["AU12"] == 0.9
    assert not world.camera.upright
    assert world.setting == World().setting


def test_it_goes_on_and_refuses_what_is_not_its_own(packed, tmp_path, capfd):
    before = {p: p.stat().st_mtime_ns for p in (packed / "shards").glob("*-*")}
    assert synthesize(packed) == 0  # nothing to do
    assert before == {p: p.stat().st_mtime_ns for p in (packed / "shards").glob("*-*")}
    capfd.readouterr()
    assert synthesize(packed, "--motion.yaw", "20") == 2
    assert "was packed with motion.yaw 13.0, not 20.0" in capfd.readouterr().err
    (tmp_path / "letters.txt").write_text("dear")
    assert synthesize(tmp_path) == 2
    assert "is not empty and not a packed data set" in capfd.readouterr().err
    assert synthesize(tmp_path, "--overwrite") == 2
    assert (tmp_path / "letters.txt").exists()


def test_overwrite_starts_afresh(tmp_path):
    out = tmp_path / "out"
    assert synthesize(out, "--identities", "2") == 0
    assert synthesize(out, "--identities", "1", "--seed", "5", "--overwrite") == 0
    assert len(PackedDataset(out)) == 8
    assert json.loads((out / "dataset.json").read_text())["settings"]["seed"] == 5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--identities", "0"], "identities must be from 1 to 1e+06, not 0"),
        (["--motion.pitch", "-3"], "motion.pitch must be from 0 to 90, not -3"),
        (["--expression.rates.AU12", "1.5"], "expression.rates of AU12 must be from 0 to 1"),
        (["--workers", "0"], "--workers must be at least 1, not 0"),
    ],
)
def test_wrong_options_are_one_line(tmp_path, capfd, words, message):
    assert main(["--out", str(tmp_path / "out"), *words]) == 2
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1 and message in lines[0]
    assert not (tmp_path / "out").exists()


def test_a_world_is_cached(tmp_path):
    world = World(identities=2, videos=1, frames=2, image_size=32)
    first = default_world(tmp_path, world, workers=1)
    made = (first / "dataset.json").stat().st_mtime_ns
    assert default_world(tmp_path, world, workers=1) == first
    assert (first / "dataset.json").stat().st_mtime_ns == made
    assert world_of(first) == world
    (first / "labels.csv").unlink()  # as if it had been interrupted
    assert (default_world(tmp_path, world, workers=1) / "labels.csv").exists()


def test_a_set_that_was_not_rendered(tmp_path, pack_frames):
    with pytest.raises(ValueError, match=r"was made by 'tcae\.pack', not by"):
        world_of(pack_frames({("ann", "talk", "0"): 2}))
