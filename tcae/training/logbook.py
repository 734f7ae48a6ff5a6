"""What a run writes down: numbers in metrics.jsonl, pictures as PNG, both in TensorBoard."""

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
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter

from tcae.files.durable import errors_naming, write_durably

log = logging.getLogger(__name__)

METRICS_FILE = "metrics.jsonl"
"""Name of the record of numbers inside a run directory."""


@dataclass(frozen=True)
class LogbookConfig:
    """How much a run writes down."""

    every: int = 50
    """Steps between lines in the log."""

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"every is {self.every}, it must be at least 1")


class Logbook:
    """The record of a run, which a resumed run continues without a lost or repeated line.

    Args:
        folder: The run directory.
        state: `state_dict` of the checkpoint that the run goes on from, or None for a new run.
            Later lines are cut off, and TensorBoard hides its later points.

    Example:
        >>> with Logbook(Path(".")) as logbook:
        ...     logbook.write("train", 100, {"loss": 0.5})
    """

    def __init__(self, folder: Path, state: Mapping[str, Any] | None = None) -> None:
        self.folder = folder
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

        What is not finite becomes null: JSON knows no NaN.
        """
        finite = {k: v if math.isfinite(v) else None for k, v in values.items()}
        line = json.dumps({"kind": kind, "step": step, **finite}) + "\n"
        with errors_naming(self.path):
            self._append(line.encode())
        with errors_naming(self.folder):
            for name, value in values.items():
                self._board.add_scalar(f"{kind}/{name}", value, step)

    def picture(self, name: str, step: int, picture: NDArray[np.uint8]) -> Path:
        """Keep a picture (H, W, 3) uint8 RGB as ``<name>/step-<step>.png`` and in TensorBoard."""
        path = self.folder / name / f"step-{step:08d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        encoded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1]
        write_durably(path, encoded.tobytes())
        with errors_naming(self.folder):
            self._board.add_image(name, picture, step, dataformats="HWC")
        return path

    def state_dict(self, step: int) -> dict[str, int]:
        """How far the record reaches; everything up to there is on the disk when this returns."""
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

    def _append(self, line: bytes) -> None:
        """Write a line, or nothing if the disk has no room for all of it."""
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
        # After an error (a full disk, say) closing may fail again: the first one tells more.
        with contextlib.suppress(*([OSError] if kind else [])):
            self.close()
