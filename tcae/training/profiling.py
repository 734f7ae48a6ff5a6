"""The profile of a few steps: where their time goes, as a trace and as a table."""

from __future__ import annotations

import logging
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, schedule

from tcae.cli.progress import say
from tcae.files.durable import write_durably

log = logging.getLogger(__name__)

TRACE_FILE = "trace.json"
TABLE_FILE = "operators.txt"

WARMUP = 20
"""Steps before the first that is profiled: by then kernels are chosen and compiled."""

_ROWS = 60  # of the table


class StepsProfile:
    """Profiles some steps after a warm-up and writes what it found. It leaves the others alone.

    What lies between the steps, such as a validation, is profiled with them.

    Args:
        folder: Where to write the trace, which Perfetto and chrome://tracing show, and the table of
            operators. It is created.
        steps: How many steps to profile. 0: none.
        device: Where the steps are computed.
    """

    def __init__(self, folder: Path, steps: int, device: torch.device) -> None:
        self._folder, self._steps, self._device = folder, steps, device
        self._profiler: profile | None = None

    def __enter__(self) -> StepsProfile:
        if self._steps:
            activities = [ProfilerActivity.CPU]
            if self._device.type == "cuda":
                activities.append(ProfilerActivity.CUDA)
            # The last step of the warm-up is recorded and thrown away: recording is slow at first.
            plan = schedule(wait=WARMUP - 1, warmup=1, active=self._steps, repeat=1)
            self._profiler = profile(
                activities=activities, schedule=plan, on_trace_ready=self._write
            )
            self._profiler.start()
        return self

    def step(self) -> None:
        """Take note that a step has ended."""
        if self._profiler is not None:
            self._profiler.step()

    def _write(self, found: Any) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        found.export_chrome_trace(str(self._folder / TRACE_FILE))
        by = "self_device_time_total" if self._device.type == "cuda" else "self_cpu_time_total"
        table = found.key_averages().table(sort_by=by, row_limit=_ROWS)
        write_durably(self._folder / TABLE_FILE, table.encode())
        say(f"profile: {self._folder}")
        self._steps = 0

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._profiler is None:
            return
        self._profiler.stop()  # writes what there is if steps are being recorded
        if self._steps and kind is None:
            log.warning("--profile: begins after %d steps, and the run has ended", WARMUP)
