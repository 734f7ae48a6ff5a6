from __future__ import annotations

import re
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tcae.evaluation.linear_probe import load_probe
from tcae.evaluation.unseen import UnseenConfig
from tcae.measuring.people import measure_unseen
from tcae.measuring.trained import load_trained
from tcae.report.goals import goals_markdown

ROOT = Path(__file__).parents[2]


def ship(run: Path, tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools/ship_weights"), str(run), "--out", str(tmp_path)]
    command += ["--cache", str(run.parent / "data"), "--people", "4", "--pairs", "3"]
    command += ["--calibration-people", "4", *words]
    return subprocess.run(command, capture_output=True, text=True)


def test_files_and_card(rendered_run, tmp_path):
    done = ship(rendered_run, tmp_path, "--name", "tiny", "--seed", "1")
    assert (done.returncode, done.stderr.count("error")) == (0, 0), done.stderr
    trained = load_trained(tmp_path / "tiny")
    card = (tmp_path / "tiny.md").read_text()
    for part in (
        "# tiny",
        "32x32 pixels",
        "numbers of 8"[-1],
        "12 people",
        "48 frames",
        "6 steps of 4",
        "fitted to people not trained on",
    ):
        assert part in card
    assert "--unseen.people 4 --unseen.pairs 3 --unseen.seed 1" in card
    assert "| `--model.base-filters` | 4 | 16 |" in card
    assert "$" not in card and str(tmp_path) not in card and str(rendered_run.parent) not in card
    assert "in the clip: not measured." in card and card.count("## What the numbers mean") == 1
    assert load_probe(tmp_path / "tiny").calibrated().intensity is not None
    config = replace(trained.config, unseen=UnseenConfig(4, 3, 1))
    figures = measure_unseen(replace(trained, config=config), rendered_run.parent / "data").measures
    assert goals_markdown(figures) in card
    assert "| share of frames | AUC | 95 % | of the probe that ships |" in card
    assert re.search(r"\n\| mean \| 0\.\d{3} \| \S+ \| \S+ to \S+ \| \S+ \|\n", card)
    for path in (tmp_path / "tiny").rglob("*.safetensors"):
        name = path.relative_to(tmp_path / "tiny").as_posix()
        assert f"`{name}` {path.stat().st_size:,}" in card


def test_what_is_too_large_does_not_ship(rendered_run, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools/ship_weights"))
    tool = runpy.run_path(str(ROOT / "tools/ship_weights/__main__.py"))
    assert tool["LIMIT"] == 5_000_000
    tool["ship"].__globals__["LIMIT"] = 10_000
    options = tool["argparse"].Namespace(
        run=rendered_run, probe=None, out=tmp_path, name="tiny", clips=None
    )
    with pytest.raises(ValueError, match=r"parameters come to [\d,]+ bytes, at most 10,000 may"):
        tool["ship"](options)
    assert list(tmp_path.iterdir()) == []


def test_the_probe_is_not_judged_by_those_whom_it_knows(rendered_run, tmp_path):
    seed = str(load_trained(rendered_run).config.unseen.seed)
    done = ship(rendered_run, tmp_path, "--seed", seed)
    assert f"--seed {seed}: the run's probe knows these people, need others" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_none(tmp_path):
    done = ship(tmp_path / "none", tmp_path)
    assert done.returncode != 0
    assert done.stderr.startswith("ship_weights: error:") and done.stderr.count("\n") == 1
