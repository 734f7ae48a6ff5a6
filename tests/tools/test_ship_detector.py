from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tcae import finetune, synthesize
from tcae.data.synthetic.packed import world_of
from tcae.evaluation.linear_probe import load_probe
from tcae.models.encoder_file import load_encoder

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("world") / "data"
    words = ["--identities", "6", "--videos", "1", "--frames", "8", "--image-size", "36"]
    assert synthesize.main(["--out", str(folder), *words, "--workers", "1"]) == 0
    return folder


@pytest.fixture(scope="module")
def result(data, rendered_run) -> Path:
    out = data.parent / "result"
    words = ["--no-test", "--steps", "2", "--batch-size", "4", "--encoder", str(rendered_run)]
    words += ["--intensities", str(data / "truth.csv")]
    assert finetune.main(["--data", str(data), "--out", str(out), *words]) == 0
    return out


def ship(result: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools/ship_weights/detector.py"), str(result)]
    return subprocess.run([*command, *words], capture_output=True, text=True)


def test_files_and_card(result, data, rendered_run, tmp_path):
    words = ["--data", str(data), "--start", str(rendered_run), "--steps", "2", "--name", "tiny"]
    words += ["--out", str(tmp_path), "--people", "4", "--cache", str(data.parent / "cache")]
    words += ["--calibration-people", "4"]
    done = ship(result, *words)
    assert done.returncode == 0, done.stderr
    encoder, probe = load_encoder(tmp_path / "tiny"), load_probe(tmp_path / "tiny")
    assert probe.encoder == encoder.fingerprint
    assert world_of(tmp_path / "tiny") == world_of(data)
    card = (tmp_path / "tiny.md").read_text()
    for part in ("# tiny", "32x32 pixels", "6 people", "48 frames", "--batch-size 4", "| mean |"):
        assert part in card
    assert "$" not in card and card.count("## What the numbers mean") == 1
    assert probe.calibrated().intensity is not None
    for path in (tmp_path / "tiny").rglob("*.safetensors"):
        name = path.relative_to(tmp_path / "tiny").as_posix()
        assert f"`{name}` {path.stat().st_size:,}" in card


def test_a_result_that_is_none(data, tmp_path):
    words = ["--data", str(data), "--steps", "2", "--out", str(tmp_path)]
    done = ship(tmp_path / "none", *words)
    assert done.returncode != 0
    assert done.stderr.startswith("detector: error:") and done.stderr.count("\n") == 1


def test_calibrating_again_changes_one_section_and_the_probe(result, data, rendered_run, tmp_path):
    words = ["--data", str(data), "--start", str(rendered_run), "--steps", "2", "--name", "tiny"]
    some = ["--out", str(tmp_path), "--cache", str(data.parent / "cache")]
    done = ship(result, *words, *some, "--people", "4", "--calibration-people", "4")
    assert done.returncode == 0, done.stderr
    before, first = (tmp_path / "tiny.md").read_text(), load_probe(tmp_path / "tiny")
    command = [sys.executable, str(ROOT / "tools/ship_weights/calibration.py"), "tiny", *some]
    done = subprocess.run([*command, "--calibration-people", "5"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    after, again = (tmp_path / "tiny.md").read_text(), load_probe(tmp_path / "tiny")
    assert "fitted to 4 rendered people" in before and "fitted to 5 rendered people" in after
    for text in ("## Data", "## Limits", "## Licence"):
        assert before.split(text)[1].split("##")[0] == after.split(text)[1].split("##")[0]
    assert (again.calibrated().presence != first.calibrated().presence).any()
    assert (again.linear.weight == first.linear.weight).all()
