"""The checkpoints of a run: written whole or not at all, checked when read, never run as code."""

from __future__ import annotations

import io
import logging
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tcae.cli.messages import first_line
from tcae.files.durable import write_durably

log = logging.getLogger(__name__)

FORMAT, VERSION = "tcae-checkpoint", 1
BEST = "best.pt"
_NAME = re.compile(r"step-(\d+)\.pt")
_FIELDS: dict[str, type | tuple[type, ...]] = {
    "step": int,
    "total_steps": (int, type(None)),
    "minutes": float,
    "best": float,
    "failures": int,
    "skipped": int,
    "threads": int,
    "measures": dict,
    "config": dict,
    "data": str,
    "model": dict,
    "optimizer": dict,
    "curriculum": dict,
    "random": dict,
    "logbook": dict,
    "progress": dict,
}


@dataclass(frozen=True)
class CheckpointsConfig:
    """When a run saves all that it needs to be resumed, and how many such files it keeps."""

    every: int = 500
    """Steps from one checkpoint to the next. The last step always has one. Fewer steps: less is
    lost if the run is killed, but more time goes into writing."""
    keep: int = 3
    """How many of the latest checkpoints are kept. The best one is kept too."""

    def __post_init__(self) -> None:
        for name in ("every", "keep"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, it must be at least 1")


class CheckpointFolder:
    """The checkpoints of one run: ``step-00001000.pt`` ... and ``best.pt``.

    Args:
        path: The folder. It is created with the first checkpoint.
        keep: How many of the latest checkpoints to keep.
    """

    def __init__(self, path: Path, keep: int = 3) -> None:
        self.path = path
        self.keep = keep

    def save(self, state: Mapping[str, Any], *, best: bool = False) -> Path:
        """Write a checkpoint, as the latest or as the best, and remove those no longer kept.

        Returns:
            The file.

        Raises:
            OSError: The disk is full. The error names the file; earlier checkpoints are intact.
        """
        content = io.BytesIO()
        torch.save({"format": FORMAT, "version": VERSION, **state}, content)
        self.path.mkdir(parents=True, exist_ok=True)
        path = self.path / (BEST if best else f"step-{state['step']:08d}.pt")
        write_durably(path, content.getvalue())
        for old in self.numbered()[: -self.keep]:
            old.unlink()
        return path

    def numbered(self) -> list[Path]:
        """List the checkpoints by step, the latest last, without half-written files."""
        return sorted(path for path in self.path.glob("step-*.pt") if _NAME.fullmatch(path.name))

    def latest(self) -> tuple[Path, dict[str, Any]] | None:
        """Read the latest usable checkpoint. Warn of each damaged one and try the one before.

        The best one comes last: it is whole, too, but may be much older.
        """
        for path in reversed(self.numbered()):
            try:
                return path, read_checkpoint(path)
            except ValueError as error:
                log.warning("%s; falling back to an earlier checkpoint", error)
        best = self.path / BEST
        if not best.exists():
            return None
        try:
            state = read_checkpoint(best)
        except ValueError as error:
            log.warning("%s", error)
            return None
        log.warning("%s: going on from the best checkpoint, of step %d", best, state["step"])
        return best, state

    def is_empty(self) -> bool:
        """Return whether there is no checkpoint, not even a damaged one."""
        return not self.numbered() and not (self.path / BEST).exists()

    def forget_after(self, step: int) -> None:
        """Remove the checkpoints of later steps. Going on from `step` writes them again."""
        for path in self.numbered():
            if int(path.stem.partition("-")[2]) > step:
                log.warning("%s: removed, the run goes on from step %d", path, step)
                path.unlink()


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint and check that it is complete.

    Returns:
        Its fields, and "source": the path as a string.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, not a checkpoint, or lacks a field. The error names file
            and field.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such checkpoint")
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch.load itself does not check the checksums
        if damaged is not None:
            raise ValueError(f"checksum of {damaged} does not match")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged or hostile bytes can make the readers raise anything
        raise ValueError(f"{path}: damaged or not a checkpoint ({first_line(error)})") from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise ValueError(f"{path}: not a checkpoint of tcae.train")
    if state.get("version") != VERSION:
        raise ValueError(f"{path}: version: need {VERSION}, got {state.get('version')!r}")
    for field, kind in _FIELDS.items():
        if field not in state:
            raise ValueError(f"{path}: field {field} is missing")
        if not isinstance(state[field], kind):
            raise ValueError(f"{path}: field {field} is of type {type(state[field]).__name__}")
    return {**state, "source": str(path)}
