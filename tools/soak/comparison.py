"""What differs between two runs that should be the same."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from tcae.training.checkpoints import CheckpointFolder

# All else in a checkpoint knows the time of day, or its folder.
_FIELDS = ("step", "best", "failures", "skipped", "measures", "data")
_STATES = ("model", "optimizer", "curriculum", "random")
_CLOCKS = re.compile(r".*(seconds|minutes|per_second|data_wait_share|peak_memory_mb)$")


def differences(one: Path, other: Path) -> list[str]:
    """Return a line for each difference between two finished runs. Clocks do not count."""
    return [
        *_checkpoints(one, other),
        *_lines(one, other),
        *_summaries(one, other),
        *_encoders(one, other),
        *_files(one, other),
    ]


def _checkpoints(one: Path, other: Path) -> Iterator[str]:
    mine, others = (CheckpointFolder(run / "checkpoints").latest() for run in (one, other))
    if mine is None or others is None:
        yield "checkpoints: there is none"
        return
    for field in _FIELDS + _STATES:
        a, b = (dict(_leaves(state[field], field)) for _, state in (mine, others))
        for name in sorted(a.keys() | b.keys()):
            if not _equal(a.get(name), b.get(name)):
                yield f"checkpoints: {name}"


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}.{key}")
    elif isinstance(value, (list, tuple)):
        for i, inner in enumerate(value):
            yield from _leaves(inner, f"{name}.{i}")
    else:
        yield name, value


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    return type(one) is type(other) and bool(one == other)


def _lines(one: Path, other: Path) -> Iterator[str]:
    rows = [(run / "metrics.jsonl").read_text().splitlines() for run in (one, other)]
    if len(rows[0]) != len(rows[1]):
        yield f"metrics.jsonl: {len(rows[0])} lines, {len(rows[1])} lines"
    for number, (a, b) in enumerate(zip(*rows, strict=False), 1):
        if _without_clocks(json.loads(a)) != _without_clocks(json.loads(b)):
            yield f"metrics.jsonl: line {number}"


def _summaries(one: Path, other: Path) -> Iterator[str]:
    a, b = (_without_clocks(json.loads((run / "summary.json").read_text())) for run in (one, other))
    for name in sorted(a.keys() | b.keys()):
        if a.get(name) != b.get(name):
            yield f"summary.json: {name}"


def _without_clocks(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if not _CLOCKS.match(name)}


def _encoders(one: Path, other: Path) -> Iterator[str]:
    a, b = ((run / "encoder.safetensors").read_bytes() for run in (one, other))
    if a != b:
        yield "encoder.safetensors"


def _files(one: Path, other: Path) -> Iterator[str]:
    a, b = (_names(run) for run in (one, other))
    for name in sorted(a ^ b):
        yield f"{name}: only in {(one if name in a else other).name}"


def _names(run: Path) -> set[str]:
    """Return the names of all files; one for TensorBoard's, of which each start writes another."""
    names = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    return {name.split("tfevents")[0] for name in names}
