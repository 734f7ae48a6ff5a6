"""Whether the memory of processes stays what it is."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

WARM_UP = 0.2
"""Share of the samples that is not looked at: a process fills its buffers first."""

LIMIT = 0.02
"""By how much memory may differ from the beginning to the end."""


@dataclass(frozen=True)
class Sample:
    """The memory of a process at a moment.

    Attributes:
        seconds: Since the beginning.
        run: Name of the run.
        process: The process: kind, rank and number.
        step: The last step that the run has logged.
        memory: Resident memory in bytes.
    """

    seconds: float
    run: str
    process: str
    step: int
    memory: int


@dataclass(frozen=True)
class Growth:
    """How the memory of a process changed after the warm-up.

    Attributes:
        run: Name of the run.
        process: The process.
        minutes: For how long it was watched, warm-up included.
        first: Median of the first quarter of the samples after the warm-up, in bytes.
        last: Median of the last quarter.
        peak: The largest sample, in bytes.
    """

    run: str
    process: str
    minutes: float
    first: float
    last: float
    peak: int

    @property
    def share(self) -> float:
        """The change, as a share of what it was."""
        return self.last / self.first - 1


def growths(samples: Sequence[Sample], total: int, least_minutes: float) -> list[Growth]:
    """Return the growth of each process that trained for so many minutes.

    Args:
        samples: In the order of time.
        total: Steps of a run. After the last one it measures, which takes memory of its own.
        least_minutes: Processes that trained for less are left out.
    """
    series: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        if sample.step < total:
            series.setdefault((sample.run, sample.process), []).append(sample)
    found = []
    for (run, process), whole in series.items():
        mine = [sample for sample in whole if sample.step > whole[0].step]  # before, it starts
        if not mine:
            continue
        minutes = (mine[-1].seconds - mine[0].seconds) / 60
        values = [sample.memory for sample in mine[int(WARM_UP * len(mine)) :]]
        quarter = len(values) // 4
        if minutes < least_minutes or not quarter:
            continue
        first, last = statistics.median(values[:quarter]), statistics.median(values[-quarter:])
        found.append(Growth(run, process, minutes, first, last, max(s.memory for s in mine)))
    return found
