"""The run directory: where a run starts, which directories it refuses, where it resumes."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from tcae.evaluation.linear_probe import PROBE
from tcae.files.durable import lock
from tcae.models.encoder_file import ENCODER_FILE
from tcae.training.checkpoints import CheckpointFolder, read_checkpoint
from tcae.training.config import (
    CONFIG_FILE,
    TrainConfig,
    check_resumable,
    load_config,
    plain_config,
    resumed_run,
    save_config,
)
from tcae.training.resumed_length import with_more_steps
from tcae.training.trackers import TRACKERS_FILE

CHECKPOINTS = "checkpoints"
PANELS = "panels"
PROFILE = "profile"
FABNET = "fabnet"
"""Name of the run inside another run that trains FAb-Net's objective, to compare with."""

SKIPPED = "not-finite"
"""Name of the folder with all about the steps that were skipped."""

SUMMARY_FILE = "summary.json"
REPORT_FILE = "report.html"

STOPPED_FILE = "stopped"
"""Is there if a signal or the time ended the run, with a checkpoint: start it again."""

# Patterns of all that a run writes. --overwrite removes this and nothing else.
_CONTENT = (
    CHECKPOINTS,
    PANELS,
    PROFILE,
    FABNET,
    PROBE,
    SKIPPED,
    "metrics.jsonl",
    TRACKERS_FILE,
    "wandb",
    "events.out.tfevents.*",
    ENCODER_FILE,
    SUMMARY_FILE,
    REPORT_FILE,
    STOPPED_FILE,
    CONFIG_FILE,
)


def find_run(config: TrainConfig) -> tuple[Path, dict[str, Any] | None]:
    """Decide on the run directory. This writes nothing.

    Returns:
        The directory and the checkpoint to resume from. The checkpoint is None for a run that
        starts at step 0.

    Raises:
        ValueError: The directory is not empty, holds no run, or its run cannot be resumed with
            these options.
    """
    run = resumed_run(config.resume, config.out)
    if run is None or (config.resume == "auto" and not (run / CONFIG_FILE).exists()):
        return _new_run(config), None
    if not (run / CONFIG_FILE).exists():
        raise ValueError(
            f"--resume {config.resume}: neither a run nor a checkpoint in a run, {run} holds no "
            f"{CONFIG_FILE}"
        )
    if config.overwrite:
        raise ValueError("--overwrite: would throw away what --resume is to go on with")
    if config.out is not None and config.out.resolve() != run.resolve():
        raise ValueError(
            f"--out {config.out}: the run to resume lives in {run}; "
            "--init-from starts a new run from its weights"
        )
    # Whether --steps is more than fitted into --minutes is for the checkpoint to say.
    saved = with_more_steps(plain_config(load_config(run)), config, 0)
    check_resumable(saved, config, str(run / CONFIG_FILE))
    return run, _checkpoint(config, run)


@contextlib.contextmanager
def lock_run(run: Path) -> Iterator[None]:
    """Create the run directory and keep all other processes from training into it.

    Waits a moment for a process that is stopping or was killed.

    Raises:
        ValueError: Another process is training into it, or this one is already.
        OSError: The directory cannot be created.
    """
    run.mkdir(parents=True, exist_ok=True)
    handle = os.open(run, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # network file systems may have no locks
            lock(handle, f"--out {run}: another process is training into it")
        yield
    finally:
        os.close(handle)


def prepare_run(run: Path, config: TrainConfig, checkpoint: dict[str, Any] | None) -> None:
    """Prepare the run directory: remove what an earlier run or a later step left, save the config.

    Args:
        run: The directory that `find_run` returned.
        config: The configuration, written to ``config.yaml``.
        checkpoint: The checkpoint to resume from. None for a run that starts at step 0.

    Raises:
        OSError: The directory cannot be created or written to.
    """
    if checkpoint is None:
        _clear(run)
    else:
        CheckpointFolder(run / CHECKPOINTS).forget_after(checkpoint["step"])
    run.mkdir(parents=True, exist_ok=True)
    (run / STOPPED_FILE).unlink(missing_ok=True)
    save_config(config, run)


def _new_run(config: TrainConfig) -> Path:
    run = config.out or Path("runs") / f"{config.preset}-{datetime.now():%Y%m%d-%H%M%S}"
    if run.exists() and not run.is_dir():
        raise ValueError(f"--out {run}: a file is in the way")
    if run.is_dir() and any(run.iterdir()):
        if not (run / CONFIG_FILE).exists():
            raise ValueError(f"--out {run}: not empty, and not a run; choose another directory")
        if not config.overwrite:
            raise ValueError(
                f"--out {run}: holds a run already; --resume auto goes on with it, "
                "--overwrite replaces it"
            )
    return run


def _checkpoint(config: TrainConfig, run: Path) -> dict[str, Any] | None:
    """Return the checkpoint that --resume means. None if the run has not written one yet."""
    folder = CheckpointFolder(run / CHECKPOINTS)
    path = Path(config.resume or "")
    checkpoint = (path, read_checkpoint(path)) if path.is_file() else folder.latest()
    if checkpoint is not None:
        source, state = checkpoint
        saved = with_more_steps(state["config"], config, state["total_steps"])
        check_resumable(saved, config, str(source))
        return state
    if not folder.is_empty():
        raise ValueError(f"{folder.path}: no usable checkpoint; --overwrite starts anew")
    if config.resume != "auto":
        raise ValueError(f"--resume {path}: holds no checkpoint")
    return None


def _clear(run: Path) -> None:
    """Remove what an earlier run wrote, its configuration last, because that marks a run."""
    for pattern in _CONTENT:
        for path in run.glob(pattern):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
