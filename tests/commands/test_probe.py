from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tcae.data.align import AlignmentTemplate
from tcae.data.shards import PackedDataset
from tcae.evaluation import protocol
from tcae.evaluation.linear_probe import ProbeConfig, load_probe
from tcae.models.encoder import Encoder
from tcae.models.encoder_file import load_encoder, save_encoder
from tcae.models.model_config import ModelConfig
from tcae.probe import main


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(protocol, "ProbeConfig", lambda: ProbeConfig(steps=30))


@pytest.fixture
def data(faces, tmp_path) -> Path:
    return Path(shutil.copytree(faces, tmp_path / "faces"))


@pytest.fixture
def argv(data, tmp_path) -> list[str]:
    torch.manual_seed(0)
    config = ModelConfig(base_filters=4, embedding_size=8)
    template = PackedDataset(data).template.to_dict()
    save_encoder(tmp_path / "encoder.safetensors", Encoder(config, 32), template)
    options = {"data": data, "encoder": tmp_path, "out": tmp_path / "out", "device": "cpu"}
    return [word for name, value in options.items() for word in (f"--{name}", str(value))]


def test_writes_and_prints_everything(argv, tmp_path, capsys):
    assert main(argv) == 0
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files >= {"results.csv", "summary.json", "predictions.csv", "probe.safetensors"}
    assert np.load(tmp_path / "out" / "embeddings_au.npy").shape == (160, 8)
    numbers = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert all(isinstance(value, (int, float)) for value in numbers.values())
    assert numbers["subjects"] == 40 and 0 <= numbers["f1_mean"] <= 1
    out = capsys.readouterr().out
    assert f"{numbers['auc_AU12']:.3f}" in out and "prevalence" in out
    assert load_probe(tmp_path / "out").encoder == load_encoder(tmp_path).fingerprint


def test_an_earlier_result_is_kept_unless_told_otherwise(argv, tmp_path, capsys):
    assert main([*argv, "--seed", "1"]) == 0
    before = (tmp_path / "out" / "summary.json").read_text()
    assert main(argv) == 2
    assert "already there" in capsys.readouterr().err
    assert (tmp_path / "out" / "summary.json").read_text() == before
    assert main([*argv, "--overwrite", "--embedding", "pose", "--seed", "1"]) == 0
    assert load_probe(tmp_path / "out").embedding == "pose"
    assert (tmp_path / "out" / "summary.json").read_text() != before
    assert main([*argv, "--overwrite", "--seed", "1"]) == 0
    assert (tmp_path / "out" / "summary.json").read_text() == before


def test_labels_and_folds_from_files(argv, data, tmp_path):
    lines = (data / "labels.csv").read_text().splitlines()
    (data / "labels.csv").unlink()
    labels = tmp_path / "mine.csv"
    labels.write_text("\n".join(line.rsplit(",", 1)[0] for line in lines))
    subjects = sorted({line.split(",")[1] for line in lines[1:]})
    folds = tmp_path / "folds.csv"
    rows = [f"{subject},{'ab'[i % 2]}" for i, subject in enumerate(subjects)]
    folds.write_text("\n".join(["subject,fold", *rows]))
    assert main([*argv, "--labels", str(labels), "--folds", str(folds)]) == 0
    numbers = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert numbers["folds"] == 2 and f"f1_{lines[0].rsplit(',', 1)[1]}" not in numbers


def test_a_damaged_frame_is_one_line_and_status_1(argv, data, tmp_path, capsys):
    dataset = PackedDataset(data)
    entry = dataset.frames[20]
    blobs = sorted((data / "shards").glob("*.bin"))
    blob = blobs[int(entry["shard"])]
    content = bytearray(blob.read_bytes())
    content[int(entry["offset"]) + 30] ^= 4
    blob.write_bytes(content)
    assert main(argv) == 1
    errors = capsys.readouterr().err.splitlines()
    (line,) = [line for line in errors if dataset.name(20) in line]
    assert line.startswith("tcae.probe: warning: ") and blob.name in line
    numbers = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert numbers["frames_failed"] == 1 and numbers["frames"] == 159


def test_another_template_is_refused(argv, data, tmp_path, capsys):
    config = ModelConfig(base_filters=4, embedding_size=8)
    other = AlignmentTemplate(((0.2, 0.2), (0.8, 0.2), (0.5, 0.5), (0.3, 0.8), (0.7, 0.8)), "loose")
    path = tmp_path / "encoder.safetensors"
    save_encoder(path, Encoder(config, 32), other.to_dict())
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "loose" in error and PackedDataset(data).template.name in error


def test_another_size_is_resized_and_said(argv, data, tmp_path, capsys):
    config = ModelConfig(base_filters=4, embedding_size=8)
    template = PackedDataset(data).template.to_dict()
    path = tmp_path / "encoder.safetensors"
    save_encoder(path, Encoder(config, 64), template)
    assert main(argv) == 0
    assert "faces of 32 pixels are resized to 64" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--folds", "41"], "41 folds need as many labelled subjects or more, 40 came"),
        (["--folds", "1"], "folds: 1 came, 2 or more are needed"),
        (["--folds", "nowhere.csv"], "nowhere.csv: No such file"),
        (["--labels", "nowhere.csv"], "nowhere.csv: No such file"),
        (["--encoder", "nowhere"], "nowhere"),
        (["--data", "nowhere"], "nowhere"),
        (["--device", "cuda:77"], "--device cuda:77"),
        (["--batch-size", "0"], "--batch-size must be at least 1"),
    ],
)
def test_bad_options_are_one_line_and_status_2(argv, tmp_path, capsys, change, message):
    assert main([*argv, *change]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "out" / "summary.json").exists()
