"""Experiment trackers that a logbook writes to as well: Weights & Biases, and MLflow."""

from __future__ import annotations

import importlib
import importlib.util
import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from tcae.files.durable import write_durably

log = logging.getLogger(__name__)

TRACKERS_FILE = "trackers.json"
"""Name of the file in a run directory with the name that each tracker has for the run."""

_PROJECT = "tcae"  # unless the tracker's own environment variable says another


class Tracker(Protocol):
    """Takes the numbers and pictures of a run.

    It is made of the run directory, of all options as plain values, and of the name that it gave to
    the run that goes on; None for a new one.

    Attributes:
        name: What it calls the run.
    """

    name: str

    def write(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """Take numbers, which are finite, under names such as ``train/loss``."""

    def picture(self, name: str, step: int, path: Path) -> None:
        """Take a PNG file."""

    def close(self) -> None:
        """Finish."""


class Wandb:
    """A run of Weights & Biases. ``WANDB_MODE=offline`` keeps it in the run directory."""

    def __init__(self, run: Path, config: Mapping[str, Any], name: str | None) -> None:
        self._wandb = importlib.import_module("wandb")
        self._run = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            name=run.resolve().name,
            dir=str(run),
            id=name,
            resume="allow",
            config=dict(config),
        )
        self.name = str(self._run.id)
        self._run.define_metric("*", step_metric="step")  # its own steps may not go back

    def write(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """Take numbers."""
        named = {f"{kind}/{name}": value for name, value in values.items()}
        self._run.log({**named, "step": step})

    def picture(self, name: str, step: int, path: Path) -> None:
        """Take a PNG file."""
        self._run.log({name: self._wandb.Image(str(path)), "step": step})

    def close(self) -> None:
        """Finish."""
        self._run.finish()


class Mlflow:
    """A run of MLflow, where ``MLFLOW_TRACKING_URI`` says."""

    def __init__(self, run: Path, config: Mapping[str, Any], name: str | None) -> None:
        self._entities = importlib.import_module("mlflow.entities")
        self._client = importlib.import_module("mlflow").MlflowClient()
        if name is not None:
            self.name = name
            self._client.update_run(name, status="RUNNING")
            return
        project = os.environ.get("MLFLOW_EXPERIMENT_NAME", _PROJECT)
        known = self._client.get_experiment_by_name(project)
        experiment = known.experiment_id if known else self._client.create_experiment(project)
        created = self._client.create_run(experiment, run_name=run.resolve().name)
        self.name = str(created.info.run_id)
        for option, value in _flat(config):
            self._client.log_param(self.name, option, value)

    def write(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """Take numbers."""
        now = int(1000 * time.time())
        metric = self._entities.Metric
        lines = [metric(f"{kind}/{name}", value, now, step) for name, value in values.items()]
        self._client.log_batch(self.name, metrics=lines)

    def picture(self, name: str, step: int, path: Path) -> None:
        """Take a PNG file."""
        self._client.log_artifact(self.name, str(path), name)

    def close(self) -> None:
        """Finish."""
        self._client.set_terminated(self.name)


_KINDS: dict[str, Callable[[Path, Mapping[str, Any], str | None], Tracker]] = {
    "wandb": Wandb,
    "mlflow": Mlflow,
}


def check_installed(kinds: Iterable[str]) -> None:
    """Check that trackers can be used.

    Raises:
        ValueError: One is not installed.
    """
    for kind in kinds:
        if importlib.util.find_spec(kind) is None:
            raise ValueError(
                f"--logbook.also {kind}: it is not installed; pip install '.[{kind}]' installs it"
            )


class Trackers:
    """The trackers of a run. One that fails is left out with a warning: the run goes on.

    Args:
        kinds: Which ones: "wandb", "mlflow".
        run: The run directory. It remembers what each tracker calls the run.
        config: All options, as plain values.
        resumed: Whether the run goes on, also with the trackers.
    """

    def __init__(
        self, kinds: Iterable[str], run: Path, config: Mapping[str, Any], resumed: bool
    ) -> None:
        self._open: dict[str, Tracker] = {}
        file = run / TRACKERS_FILE
        names: dict[str, str] = json.loads(file.read_text()) if resumed and file.exists() else {}
        for kind in kinds:
            try:
                self._open[kind] = _KINDS[kind](run, config, names.get(kind))
            except Exception as error:
                _warn(kind, error)
        if self._open:
            names |= {kind: tracker.name for kind, tracker in self._open.items()}
            write_durably(file, json.dumps(names).encode())

    def each(self, action: Callable[[Tracker], object]) -> None:
        """Do something with every tracker."""
        for kind, tracker in [*self._open.items()]:
            try:
                action(tracker)
            except Exception as error:
                del self._open[kind]
                _warn(kind, error)


def _warn(kind: str, error: Exception) -> None:
    log.warning("%s: %s; the run goes on without it", kind, error)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Yield the options of all groups by their dotted names."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
