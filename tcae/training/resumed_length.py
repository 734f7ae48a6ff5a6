"""How long a resumed run is: more --steps extend it, --minutes may only pause it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tcae.training.config import CONFIG_FILE, TrainConfig, load_config


def with_more_steps(
    saved: Mapping[str, Any], now: TrainConfig, total: int | None
) -> dict[str, Any]:
    """Return a saved configuration with the new number of steps, if that extends the run.

    Args:
        saved: The `plain_config` of the run so far.
        now: The configuration to go on with.
        total: Steps that fit into the run's --minutes. None if it has not been found out.
    """
    longer = _is_longer(saved.get("steps"), now.steps, total)
    return {**saved, "steps": now.steps} if longer else dict(saved)


def resumed_length(
    config: TrainConfig, run: Path, checkpoint: Mapping[str, Any] | None
) -> tuple[TrainConfig, float | None]:
    """Tell the time budget of a run from the minutes after which it only pauses.

    Args:
        config: The configuration to start or to go on with.
        run: The run directory that `find_run` returned.
        checkpoint: The checkpoint that it returned.

    Returns:
        The configuration, whose `minutes` are those of the whole run, and the minutes that this
        invocation may take. The latter are None if there is no such limit.
    """
    if config.resume is None or not (run / CONFIG_FILE).exists():
        return config, None
    saved = load_config(run)
    total = checkpoint["total_steps"] if checkpoint else None
    if saved.minutes is None:
        return replace(config, minutes=None), config.minutes
    if _is_longer(saved.steps, config.steps, total):
        pause = config.minutes if config.minutes != saved.minutes else None
        return replace(config, minutes=None), pause
    return config, None


def _is_longer(before: int | None, now: int | None, total: int | None) -> bool:
    before = before or total
    return before is not None and now is not None and now > before
