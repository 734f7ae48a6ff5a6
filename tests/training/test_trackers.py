"""The trackers beside the logbook: the real ones if they are installed, and one that fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tcae.training import trackers
from tcae.training.logbook import Logbook
from tcae.training.trackers import Trackers, check_installed

CONFIG = {"steps": 7, "optimizer": {"learning_rate": 0.5}}


def fill(run: Path, kind: str, steps: range, resumed: bool) -> None:
    """Log some steps, the last one with a picture."""
    run.mkdir(exist_ok=True)
    state = {"bytes": 10**6, "step": steps.start - 1} if resumed else None
    with Logbook(run, state, Trackers([kind], run, CONFIG, resumed)) as logbook:
        for step in steps:
            logbook.write("train", step, {"loss": 1 / step, "bad": float("nan")})
        logbook.picture("panels", steps[-1], np.zeros((8, 8, 3), np.uint8))


def test_mlflow_gets_numbers_options_and_pictures_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    run = tmp_path / "run"
    fill(run, "mlflow", range(1, 3), resumed=False)
    fill(run, "mlflow", range(3, 4), resumed=True)
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("tcae")
    [found] = client.search_runs([experiment.experiment_id])
    assert (found.info.run_name, found.info.status) == ("run", "FINISHED")
    assert found.data.params == {"steps": "7", "optimizer.learning_rate": "0.5"}
    history = client.get_metric_history(found.info.run_id, "train/loss")
    assert [(line.step, line.value) for line in history] == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert "train/bad" not in found.data.metrics
    pictures = {file.path for file in client.list_artifacts(found.info.run_id, "panels")}
    assert pictures == {"panels/step-00000002.png", "panels/step-00000003.png"}


def test_wandb_gets_numbers_options_and_pictures_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    run = tmp_path / "run"
    fill(run, "wandb", range(1, 3), resumed=False)
    name = json.loads((run / "trackers.json").read_text())["wandb"]
    fill(run, "wandb", range(3, 4), resumed=True)
    first, second = sorted((run / "wandb").glob(f"offline-run-*-{name}"))
    assert len(list(first.rglob("*.png"))) == len(list(second.rglob("*.png"))) == 1
    assert b"train/loss" in b"".join(path.read_bytes() for path in first.glob("*.wandb"))


class Broken:
    """A tracker whose server goes away after the first line."""

    name = "broken"

    def __init__(self, *_: Any) -> None:
        self.lines = 0

    def write(self, *_: Any) -> None:
        self.lines += 1
        if self.lines == 2:
            raise ConnectionError("no route to host")
        assert self.lines < 2, "it is asked no more"


def test_a_tracker_that_fails_does_not_cost_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(trackers._KINDS, "wandb", Broken)
    monkeypatch.setitem(trackers._KINDS, "mlflow", lambda *_: 1 / 0)
    both = Trackers(["wandb", "mlflow"], tmp_path, CONFIG, resumed=False)
    with Logbook(tmp_path, None, both) as logbook:
        for step in range(4):
            logbook.write("train", step, {"loss": 1.0})
    assert caplog.messages == [
        "mlflow: division by zero; the run goes on without it",
        "wandb: no route to host; the run goes on without it",
    ]
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 4


def test_a_tracker_that_is_not_installed_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check_installed([])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"--logbook.also mlflow: it is not installed; pip"):
        check_installed(["mlflow"])
