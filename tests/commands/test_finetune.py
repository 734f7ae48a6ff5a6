from __future__ import annotations

import csv
import json
import shutil
import signal
from pathlib import Path

import cv2
import pytest
import torch
from sklearn.metrics import roc_auc_score

from tcae import extract
from tcae.data.shards import PackedDataset
from tcae.evaluation.linear_probe import load_probe
from tcae.finetune import main
from tcae.methods.training import LabelledBatches
from tcae.models.encoder import Encoder
from tcae.models.encoder_file import load_encoder, save_encoder
from tcae.models.model_config import ModelConfig


@pytest.fixture
def data(faces: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(faces, tmp_path / "faces"))


@pytest.fixture
def argv(data: Path, tmp_path: Path) -> list[str]:
    torch.manual_seed(0)
    config = ModelConfig(base_filters=4, embedding_size=8)
    template = PackedDataset(data).template.to_dict()
    save_encoder(tmp_path / "encoder.safetensors", Encoder(config, 32), template, 0.9)
    options = {
        "data": data, "encoder": tmp_path / "encoder.safetensors", "out": tmp_path / "out",
        "device": "cpu", "folds": 2, "steps": 3, "batch-size": 8,
    }  # fmt: skip
    return [word for name, value in options.items() for word in (f"--{name}", str(value))]


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def stop_at(monkeypatch: pytest.MonkeyPatch, draw: int) -> None:
    """Send SIGTERM when a batch is drawn for the nth time from now on."""
    drawn: list[int] = []
    give = LabelledBatches.__call__

    def draw_batch(self, step):
        drawn.append(step)
        if len(drawn) == draw:
            signal.raise_signal(signal.SIGTERM)
        return give(self, step)

    monkeypatch.setattr(LabelledBatches, "__call__", draw_batch)


def test_writes_encoder_probe_and_scores_that_fit_together(argv, data, tmp_path, capsys):
    assert main(argv) == 0
    out = tmp_path / "out"
    assert files(out) == {
        *("encoder.safetensors", "probe.safetensors", "finetune.json"),
        *("results.csv", "summary.json", "predictions.csv"),
    }
    numbers = json.loads((out / "summary.json").read_text())
    assert (numbers["subjects"], numbers["frames_tested"], numbers["folds"]) == (40, 160, 2)
    rows = list(csv.DictReader((out / "predictions.csv").open()))
    known = [row for row in rows if row["AU12"]]
    auc = roc_auc_score(
        [float(row["AU12"]) for row in known], [float(row["AU12_score"]) for row in known]
    )
    assert numbers["auc_AU12"] == pytest.approx(auc, abs=1e-6)
    assert f"{numbers['auc_AU12']:.3f}" in capsys.readouterr().out
    encoder, probe = load_encoder(out), load_probe(out)
    probe.check_encoder(encoder.fingerprint)
    start = load_encoder(tmp_path / "encoder.safetensors")
    assert encoder.fingerprint != start.fingerprint
    assert (encoder.crop, encoder.template) == (start.crop, start.template)


def test_its_directory_is_a_detector(argv, data, tmp_path):
    assert main([*argv, "--no-test"]) == 0
    out, pictures = tmp_path / "out", tmp_path / "pictures"
    assert files(out) == {"encoder.safetensors", "probe.safetensors", "finetune.json"}
    pictures.mkdir()
    face = PackedDataset(data).read(0)
    cv2.imwrite(str(pictures / "0.png"), cv2.cvtColor(face, cv2.COLOR_RGB2BGR))
    words = [str(pictures), "--encoder", str(out), "--probe", str(out), "--aligned"]
    table = tmp_path / "table.csv"
    assert extract.main([*words, "--device", "cpu", "--out", str(table)]) == 0
    (row,) = csv.DictReader(table.open())
    assert 0 <= float(row["AU12_p"]) <= 1
    assert extract.main([*words, "--out", str(table), "--overwrite", "--encoder",
                         str(tmp_path / "encoder.safetensors")]) == 2  # fmt: skip


def test_a_stopped_training_says_so_and_goes_on_to_the_same_end(
    argv, tmp_path, capsys, monkeypatch
):
    whole = [*argv, "--out", str(tmp_path / "whole")]
    assert main(whole) == 0
    for draw in (2, 3):  # within the first fold, then within the second
        with monkeypatch.context() as patch:
            stop_at(patch, draw)
            assert main(argv) == 128 + signal.SIGTERM
        assert "the same command goes on from here" in capsys.readouterr().out
        assert "encoder.safetensors" not in files(tmp_path / "out")
    assert main(argv) == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_an_earlier_result_is_kept_unless_told_otherwise(argv, tmp_path, capsys):
    assert main([*argv, "--no-test"]) == 0
    before = contents(tmp_path / "out")
    assert main([*argv, "--no-test", "--seed", "1"]) == 2
    assert "already there" in capsys.readouterr().err
    assert contents(tmp_path / "out") == before
    assert main([*argv, "--no-test", "--seed", "1", "--overwrite"]) == 0
    assert contents(tmp_path / "out") != before


def test_a_stopped_training_is_not_continued_with_other_options(
    argv, tmp_path, capsys, monkeypatch
):
    with monkeypatch.context() as patch:
        stop_at(patch, 1)
        assert main([*argv, "--no-test"]) == 128 + signal.SIGTERM
    assert main([*argv, "--no-test", "--learning-rate", "0.1"]) == 2
    assert "already there" in capsys.readouterr().err


def test_from_random_weights(argv, tmp_path):
    words = [*argv, "--encoder", "random_weights", "--no-test", "--steps", "1"]
    assert main(words) == 0
    assert load_encoder(tmp_path / "out").image_size == 64


def test_a_damaged_frame_is_one_line_and_status_1(argv, data, tmp_path, capsys):
    dataset = PackedDataset(data)
    entry = dataset.frames[20]
    blob = sorted((data / "shards").glob("*.bin"))[int(entry["shard"])]
    content = bytearray(blob.read_bytes())
    content[int(entry["offset"]) + 30] ^= 4
    blob.write_bytes(content)
    assert main(argv) == 1
    errors = capsys.readouterr().err.splitlines()
    (line,) = [line for line in errors if dataset.name(20) in line]
    assert line.startswith("tcae.finetune: warning: ")
    numbers = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert numbers["frames_failed"] == 1 and numbers["frames"] == 159


def test_intensities_are_learned_in_place_of_the_labels(argv, data, tmp_path, capsys):
    words = [*argv, "--no-test"]
    assert main(words) == 0
    with_intensities = ["--overwrite", "--intensities", str(data / "truth.csv")]
    before = contents(tmp_path / "out")
    assert main([*words, *with_intensities]) == 0
    assert contents(tmp_path / "out")["probe.safetensors"] != before["probe.safetensors"]
    assert main([*words, "--overwrite", "--intensities", "nowhere.csv"]) == 2
    assert "nowhere.csv: No such file" in capsys.readouterr().err


def test_minutes_are_shared_by_all_trainings(argv, tmp_path, capsys):
    assert main([*argv, "--steps", "100000", "--minutes", "0.02"]) == 0
    lines = capsys.readouterr().out.splitlines()
    steps = [int(line.split("/")[1].split()[0]) for line in lines if ": step " in line]
    assert steps and max(steps) < 2000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--folds", "41"], "41 folds need as many labelled subjects or more, 40 came"),
        (["--labels", "nowhere.csv"], "nowhere.csv: No such file"),
        (["--encoder", "nowhere"], "nowhere: no such encoder file or run directory"),
        (["--encoder", "pixels"], "pixels: no such encoder file or run directory"),
        (["--data", "nowhere"], "nowhere"),
        (["--device", "cuda:77"], "--device cuda:77"),
        (["--batch-size", "1"], "batch_size is 1, it must be at least 2"),
        (["--minutes", "0"], "minutes is 0.0, it must be above 0"),
    ],
)
def test_bad_options_are_one_line_and_status_2(argv, tmp_path, capsys, change, message):
    assert main([*argv, *change]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_another_template_is_refused(argv, tmp_path, capsys):
    encoder = load_encoder(tmp_path / "encoder.safetensors")
    other = {**encoder.template, "name": "loose"}
    other["points"] = [[0.1 + 0.5 * x for x in point] for point in other["points"]]
    save_encoder(tmp_path / "encoder.safetensors", encoder.network, other)
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "loose" in error
