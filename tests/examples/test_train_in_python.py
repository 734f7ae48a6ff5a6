"""The example of a training in Python, on a few faces."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import cv2
import pytest

import tcae

PROGRAM = Path(__file__).parents[2] / "examples/train_in_python.py"


def test_it_listens_to_every_step_and_writes_an_encoder(
    faces: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = tmp_path / "runs" / "run"
    words = f"--data {faces} --out {run} --steps 4 --image-size 32".split()
    monkeypatch.setattr("sys.argv", [str(PROGRAM), *words])
    runpy.run_path(str(PROGRAM), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    told = [line for line in lines if line.startswith("after step ")]
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    validations = [line for line in found if line["kind"] == "val"]
    assert [line["step"] for line in validations] == [1, 2, 3, 4]
    for line, values in zip(told, validations, strict=True):
        assert f"after step {values['step']} " in line
        assert f" {values['recon_ratio']:.2f} of " in line
    assert tcae.load_encoder(run).embedding_size == tcae.TrainConfig().model.embedding_size
    assert cv2.imread(str(run / "curve.png")).std() > 10
