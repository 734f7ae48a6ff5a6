"""Training, going on, probing, extraction and export with sides that are no powers of two."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tcae import export, extract, load_encoder, probe, train
from tcae.evaluation import protocol
from tcae.evaluation.linear_probe import ProbeConfig

TINY = (
    "--batch-size 4 --device cpu --model.base-filters 4 --model.embedding-size 8 --logbook.every 3 "
    "--checkpoints.every 2 --validation.every 9 --validation.pairs 4 --validation.panel-pairs 2 "
    "--objective.ramp-start 1 --objective.ramp-steps 1 --model.pose-size 5"
)


@pytest.mark.parametrize(
    ("side", "own"),
    [(48, "--model.encoder plain"), (112, "--model.encoder residual --preset official")],
)
def test_from_training_to_another_program(
    faces: Path,
    tmp_path: Path,
    write_video: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    side: int,
    own: str,
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    monkeypatch.setattr(protocol, "ProbeConfig", lambda: ProbeConfig(steps=2))
    run, unlabelled = tmp_path / "run", tmp_path / "unlabelled"
    shutil.copytree(faces, unlabelled, ignore=shutil.ignore_patterns("labels.csv"))
    options = f"{TINY} {own} --image-size {side} --steps 3 --data {unlabelled} --out {run}".split()
    assert train.main(options) == 0
    weights = (run / "encoder.safetensors").read_bytes()
    (run / "encoder.safetensors").unlink()
    (run / "checkpoints" / "step-00000003.pt").unlink()
    assert train.main([*options, "--resume", "auto"]) == 0
    assert (run / "encoder.safetensors").read_bytes() == weights

    argv = ["--encoder", str(run), "--device", "cpu"]
    assert probe.main([*argv, "--data", str(faces), "--out", str(tmp_path / "probe")]) == 0
    found = ["--probe", str(tmp_path / "probe")]
    video, table = write_video(tmp_path / "a.mp4", 3, size=(64, 64)), tmp_path / "t.csv"
    assert extract.main([str(video), *argv, *found, "--aligned", "--out", str(table)]) == 0
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 and any(name.startswith("AU12") for name in rows[0])

    assert export.main(["--encoder", str(run), *found, "--out", str(tmp_path / "e.onnx")]) == 0
    session = onnxruntime.InferenceSession(tmp_path / "e.onnx")
    images = torch.rand(2, 3, side, side)
    au, *_ = session.run(None, {"images": images.numpy()})
    torch.testing.assert_close(torch.from_numpy(au), load_encoder(run).embed(images).au)
