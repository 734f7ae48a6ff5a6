"""The logbook of a run: numbers in metrics.jsonl, pictures as PNG, both in TensorBoard."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter

from tcae.files.durable import errors_naming, write_durably
from tcae.training.trackers import Trackers

log = logging.getLogger(__name__)

METRICS_FILE = "metrics.jsonl"
"""Name of the file of numbers in a run directory."""


@dataclass(frozen=True)
class LogbookConfig:
    """How often a run logs its numbers."""

    every: int = 50
    """Steps from one line of losses and speed to the next, on screen, in metrics.jsonl and in
    TensorBoard. A line holds means over the steps since the line before."""
    also: tuple[Literal["wandb", "mlflow"], ...] = ()
    """Experiment trackers that get the same numbers and pictures. Each is an extra of its own.
    Where they keep them their own environment variables say, such as WANDB_MODE=offline or
    MLFLOW_TRACKING_URI."""

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"every is {self.every}, it must be at least 1")


class Logbook:
    """The numbers and pictures of a run. A resumed run continues them without a gap or a repeat.

    Args:
        folder: The run directory.
        state: The `state_dict` in the checkpoint to resume from. Lines after it are cut off, and
            TensorBoard hides its later points. None for a new run.
        trackers: Where numbers and pictures go as well.

    Example:
        >>> with Logbook(Path(".")) as logbook:
        ...     logbook.write("train", 100, {"loss": 0.5})
    """

    def __init__(
        self,
        folder: Path,
        state: Mapping[str, Any] | None = None,
        trackers: Trackers | None = None,
    ) -> None:
        self.folder = folder
        self._trackers = trackers
        self.path = folder / METRICS_FILE
        size = 0 if state is None else int(state["bytes"])
        with errors_naming(self.path):
            self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115 - closed by close()
            if self._file.tell() < size:
                log.warning("%s: shorter than at the checkpoint, lines are lost", self.path)
            else:
                self._file.truncate(size)
            self._size = self.path.stat().st_size
        purge = None if state is None else int(state["step"]) + 1
        self._board = SummaryWriter(str(folder), purge_step=purge)

    def write(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """Append one line of numbers, such as ``{"kind": "train", "step": 100, "loss": 0.5}``.

        Values that are not finite become null, because JSON has no NaN.
        """
        finite = {k: v if math.isfinite(v) else None for k, v in values.items()}
        line = json.dumps({"kind": kind, "step": step, **finite}) + "\n"
        with errors_naming(self.path):
            self._append(line.encode())
        with errors_naming(self.folder):
            for name, value in values.items():
                self._board.add_scalar(f"{kind}/{name}", value, step)
        if self._trackers is not None:
            known = {name: value for name, value in values.items() if math.isfinite(value)}
            self._trackers.each(lambda tracker: tracker.write(kind, step, known))

    def picture(self, name: str, step: int, picture: NDArray[np.uint8]) -> Path:
        """Write a picture (H, W, 3) uint8 RGB to ``<name>/step-<step>.png`` and TensorBoard."""
        path = self.folder / name / f"step-{step:08d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        encoded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1]
        write_durably(path, encoded.tobytes())
        with errors_naming(self.folder):
            self._board.add_image(name, picture, step, dataformats="HWC")
        if self._trackers is not None:
            self._trackers.each(lambda tracker: tracker.picture(name, step, path))
        return path

    def state_dict(self, step: int) -> dict[str, int]:
        """Write everything so far to the disk, and return how much that is."""
        with errors_naming(self.path):
            os.fsync(self._file.fileno())
        with errors_naming(self.folder):
            self._board.flush()
        return {"bytes": self._size, "step": step}

    def close(self) -> None:
        """Close the files."""
        with errors_naming(self.path):
            self._file.close()
        with errors_naming(self.folder):
            self._board.close()
        if self._trackers is not None:
            self._trackers.each(lambda tracker: tracker.close())

    def _append(self, line: bytes) -> None:
        """Write a line, or nothing if the disk has no room for the whole line."""
        try:
            if self._file.write(line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            self._file.truncate(self._size)
            raise
        self._size += len(line)

    def __enter__(self) -> Logbook:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # After an error such as a full disk, closing may fail too. The first error says more.
        with contextlib.suppress(*([OSError] if kind else [])):
            self.close()
