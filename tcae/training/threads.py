"""The number of threads of a training on a CPU that other programs use, too."""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch

_CPU_TIMES = Path("/proc/stat")
_SECONDS = 0.3  # for which the other programs are watched


def leave_busy_cores() -> str:
    """Use as many threads as cores are free, at least one. Return what is to be said about it.

    The threads of a step wait for each other, some in loops of oneDNN that nothing can change. When
    one of them has no core, the others keep theirs busy for nothing. OMP_NUM_THREADS is left as it
    is, and so is a system that does not tell what its cores do.
    """
    threads = torch.get_num_threads()
    if threads == 1 or "OMP_NUM_THREADS" in os.environ:
        return ""
    try:
        free = _free_cores()
    except (OSError, ValueError, AttributeError):
        return ""
    chosen = max(min(threads, round(free)), 1)
    if chosen == threads:
        return ""
    torch.set_num_threads(chosen)
    cores = len(os.sched_getaffinity(0))
    return (
        f"{chosen} of {threads} threads, as other programs use {cores - free:.1f} of {cores} cores "
        "(OMP_NUM_THREADS fixes the number)"
    )


def _free_cores() -> float:
    """Return how many of the cores that this process may use rest, while it sleeps itself."""
    before = _idle_and_all()
    time.sleep(_SECONDS)
    idle, total = (after - b for after, b in zip(_idle_and_all(), before, strict=True))
    return len(os.sched_getaffinity(0)) * idle / max(total, 1)


def _idle_and_all() -> tuple[int, int]:
    """Return the time that these cores rested, and the time of all that they did, in ticks."""
    mine = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    rows = [line.split() for line in _CPU_TIMES.read_text().splitlines()]
    times = [[int(cell) for cell in row[1:9]] for row in rows if row and row[0] in mine]
    return sum(row[3] + row[4] for row in times), sum(map(sum, times))
