"""Progress of a run: mean losses, speed, time left. A bar on a terminal, else lines."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any

import torch
from tqdm import tqdm


class Progress:
    """Collects the numbers of each step and prints their means now and then.

    Sums since the last line are part of a checkpoint, so that a resumed run writes the same line.

    Args:
        step: Steps done so far.
        total_steps: Steps of the run, None while unknown.
        state: `state_dict` of the checkpoint that the run goes on from, None for a new run.
    """

    def __init__(
        self, step: int, total_steps: int | None, state: Mapping[str, Any] | None = None
    ) -> None:
        self._sums: dict[str, tuple[float, int]] = {}
        self._window, self._overall = _Clock(), _Clock()
        self._recent = 0.0  # seconds per step, as of the last line
        if state is not None:
            self._sums = {name: (total, count) for name, (total, count) in state["sums"].items()}
            self._overall = _Clock(**state["overall"])
        bar = sys.stdout.isatty()
        self._bar = (
            tqdm(total=total_steps, initial=step, file=sys.stdout, unit="step", dynamic_ncols=True)
            if bar
            else None
        )

    def add(self, images: int, waited: float, seconds: float, values: Mapping[str, float]) -> None:
        """Add one step: number of images, seconds waited for data, seconds in all, losses."""
        for clock in (self._window, self._overall):
            clock.add(images, waited, seconds)
        for name, value in values.items():
            total, count = self._sums.get(name, (0.0, 0))
            self._sums[name] = (total + value, count + 1)
        if self._bar is not None:
            self._bar.update()

    def flush(self) -> dict[str, float]:
        """Return mean losses and speed since the last call."""
        means = {name: total / count for name, (total, count) in self._sums.items()}
        speed = self._window.speed()
        self._recent = self._window.seconds / max(self._window.steps, 1)
        self._sums, self._window = {}, _Clock()
        return means | speed

    def overall(self) -> dict[str, float]:
        """Return the speed over the whole run, and the peak memory of this process."""
        return self._overall.speed()

    @property
    def seconds_per_step(self) -> float:
        """Mean duration of a step, including the wait for data."""
        return self._overall.seconds / max(self._overall.steps, 1)

    def tell(self, step: int, total_steps: int | None, values: Mapping[str, float]) -> None:
        """Print one line of numbers: those of `flush`, with "learning_rate" added."""
        losses = {name: value for name, value in values.items() if name not in _NOT_LOSSES}
        pace = f"{values['images_per_second']:.0f} images/s"
        if "tflop_per_second" in values:
            pace += f", {values['tflop_per_second']:.3g} TFLOP/s"
        speed = (
            f"lr {values['learning_rate']:.2e} | {pace}, "
            f"{values['data_wait_share']:.0%} waiting for data | {values['peak_memory_mb']:.0f} MB"
        )
        if self._bar is not None:  # too short a line for all the losses
            self._bar.total = total_steps
            self._bar.set_postfix_str(f"loss {losses['loss']:.4g} | {speed}")
            return
        parts = " ".join(f"{name} {value:.4g}" for name, value in losses.items())
        left = None if total_steps is None else int((total_steps - step) * self._recent)
        time_left = "" if left is None else f" | {left // 60}:{left % 60:02d} left"
        say(f"step {step}/{total_steps or '?'}  {parts} | {speed}{time_left}")

    def state_dict(self) -> dict[str, Any]:
        """Return sums and counts since the last line, and the time of all steps."""
        return {
            "sums": {k: list(v) for k, v in self._sums.items()},
            "overall": asdict(self._overall),
        }

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()


_NOT_LOSSES = (
    "learning_rate",
    "images_per_second",
    "tflop_per_second",
    "data_wait_share",
    "peak_memory_mb",
)


@dataclass
class _Clock:
    """Time spent in steps."""

    steps: int = 0
    images: int = 0
    waited: float = 0.0
    seconds: float = 0.0

    def add(self, images: int, waited: float, seconds: float) -> None:
        self.steps, self.images = self.steps + 1, self.images + images
        self.waited, self.seconds = self.waited + waited, self.seconds + seconds

    def speed(self) -> dict[str, float]:
        seconds = max(self.seconds, 1e-9)
        return {
            "images_per_second": self.images / seconds,
            "data_wait_share": self.waited / seconds,
            "peak_memory_mb": peak_memory_mb(),
        }


def peak_memory_mb() -> float:
    """Return peak memory so far in 2^20 bytes, of the GPU if one is in use, else of the process."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() / 2**20
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, else in KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def say(line: str) -> None:
    """Print a line on stdout without breaking a progress bar."""
    tqdm.write(line, file=sys.stdout)
    sys.stdout.flush()


class Stopwatch:
    """Measures the seconds between calls.

    Example:
        >>> watch = Stopwatch()
        >>> seconds = watch.lap()
    """

    def __init__(self) -> None:
        self._last = time.monotonic()

    def lap(self) -> float:
        """Return the seconds since the last call, or since the start."""
        now = time.monotonic()
        seconds, self._last = now - self._last, now
        return seconds
