from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tcae.models.model_config import ModelConfig
from tcae.objectives.curriculum import CurriculumConfig
from tcae.objectives.objective_config import ObjectiveConfig
from tcae.training.checkpoints import CheckpointFolder, CheckpointsConfig
from tcae.training.config import TrainConfig
from tcae.training.logbook import LogbookConfig
from tcae.training.optimizer import OptimizerConfig
from tcae.training.validation import ValidationConfig


@pytest.fixture
def tiny(faces: Path, tmp_path: Path) -> TrainConfig:
    """A run of 12 steps in which everything happens: ramp, validations, a moving window."""
    return TrainConfig(
        data=faces,
        out=tmp_path / "run",
        image_size=32,
        batch_size=4,
        steps=12,
        device="cpu",
        model=ModelConfig(base_filters=4, embedding_size=8),
        objective=ObjectiveConfig(ramp_start=3, ramp_steps=3),
        curriculum=CurriculumConfig(windows=((0.0, 0.5), (0.25, 0.75), (0.5, 1.0)), patience=1),
        optimizer=OptimizerConfig(warmup_steps=4),
        validation=ValidationConfig(every=2, pairs=8, panel_every=3, panel_pairs=2),
        checkpoints=CheckpointsConfig(every=4, keep=2),
        logbook=LogbookConfig(every=3),
    )


@pytest.fixture
def assert_same_run() -> Callable[[Path, Path], None]:
    """Compares two finished runs: every bit of the last checkpoint, every line of the record."""

    def compare(one: Path, other: Path) -> None:
        a, b = (CheckpointFolder(run / "checkpoints").latest()[1] for run in (one, other))  # type: ignore[index]
        fields = "step model optimizer curriculum random best measures skipped"
        for field in fields.split():
            assert _same(a[field], b[field]), field
        assert _lines(one) == _lines(other)

    return compare


def _lines(run: Path) -> list[dict[str, Any]]:
    """The lines of the record without what the clock decides."""
    timing = ("images_per_second", "tflop_per_second", "data_wait_share", "peak_memory_mb")
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in timing} for line in found]


def _same(a: Any, b: Any) -> bool:
    """Whether two nested states are equal, tensors bit for bit."""
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)
