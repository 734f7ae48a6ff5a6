"""Clocks and gauges: rounds, extra memory, the load by other processes, distance from the truth."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.cases import DEVICE
from tcae_ops.selftest import speed
from tcae_ops.selftest.providers import Run

SECONDS = 0.5  # for one measurement
ROUNDS = (5, 2000)  # fewest and most
_TRIALS = 2
_SET_THP_DISABLE = 41  # PR_SET_THP_DISABLE of Linux
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc


def keep_memory() -> None:
    """Let glibc keep freed memory, so that page faults do not decide what is fast.

    To return 12 MB and take them again costs more than a warp. Whether that happens depends on what
    lies above them in the heap, and so on what was measured before.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        for parameter in (_TRIM_THRESHOLD, _MMAP_THRESHOLD):
            libc.mallopt(parameter, 2**30)


def synchronised(run: Run) -> Run:
    """Return the same function, but one that waits until a GPU is done."""
    if DEVICE.type != "cuda":
        return run

    def synchronous() -> Sequence[Any]:
        results = run()
        torch.cuda.synchronize()
        return results

    return synchronous


def seconds(run: Callable[[], Any]) -> float:
    """Time one call, without the time to free its results."""
    start = time.perf_counter()
    results = run()
    stop = time.perf_counter()
    del results
    return stop - start


def rounds(*runs: Run) -> int:
    """Return how often all functions can run in the time for one measurement."""
    for run in runs:
        run()
    fewest, most = ROUNDS
    return min(max(int(SECONDS / sum(map(seconds, runs))), fewest), most)


def gpu_clock(run: Run) -> speed.Timing | None:
    """Return how long the GPU itself works, or None on a CPU.

    For small images the elapsed time is mostly that of launches.
    """
    return speed.time_run(run, DEVICE) if DEVICE.type == "cuda" else None


class OtherProcesses:
    """Measures the load by other processes, since the object was created."""

    def __init__(self) -> None:
        self._start = self._now()

    def share(self) -> float | None:
        """Return which share of the cores other processes took, or None if unknown."""
        now = self._now()
        if now is None or self._start is None:
            return None
        elapsed, busy, own = (b - a for a, b in zip(self._start, now, strict=True))
        return max(busy - own, 0.0) / (elapsed * (os.cpu_count() or 1))

    def _now(self) -> tuple[float, float, float] | None:
        """Return seconds: of the clock, of work by all cores, of this process's own work."""
        try:
            user, nice, system = Path("/proc/stat").read_text().split()[1:4]
        except OSError:
            return None
        busy = (int(user) + int(nice) + int(system)) / os.sysconf("SC_CLK_TCK")
        return time.perf_counter(), busy, time.process_time()


def extra_bytes(run: Run) -> int | None:
    """Return the most memory that a call used at once beyond its results, or None if unknown.

    On a GPU torch's allocator knows it. On a CPU it is the growth of the process's resident memory,
    which includes every allocator, in steps of pages. Only Linux with glibc reports that.
    """
    gauge = _cuda_growth if DEVICE.type == "cuda" else _resident_growth
    run()
    try:
        return min(gauge(run) for _ in range(_TRIALS))
    except (AttributeError, OSError):  # not Linux with glibc, or its /proc is closed
        return None


def _cuda_growth(run: Run) -> int:
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    results = run()
    return max(torch.cuda.max_memory_allocated() - before - size(results), 0)


def _resident_growth(run: Run) -> int:
    libc = ctypes.CDLL(None)
    libc.prctl(_SET_THP_DISABLE, 1, 0, 0, 0)  # huge pages would reach beyond the results
    try:
        libc.malloc_trim(0)  # or the call would reuse freed memory, which does not show
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        before = _status("VmRSS")
        results = run()
        return max(_status("VmHWM") - before - size(results), 0)
    finally:
        libc.prctl(_SET_THP_DISABLE, 0, 0, 0, 0)


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def size(results: Sequence[Any]) -> int:
    """Return the bytes of results."""
    return sum(result.nbytes for result in results)


def compare(results: Sequence[Any], truth: Sequence[Tensor]) -> tuple[float, list[float]]:
    """Return the distance of results from the true ones of the first samples.

    Returns:
        The largest absolute error of the first result, and for every result the relative error in
        the Euclidean norm. (Derivatives jump at pixel borders and where differences change
        sign, so single values of gradients may be anything.)
    """
    relative, largest = [], 0.0
    for i, (found, true) in enumerate(zip(results, truth, strict=True)):
        true = true.detach().double()
        values = torch.as_tensor(found).detach()[: len(true)].double()
        if values.shape != true.shape:  # channels last, as grids and OpenCV's images are
            values = values.movedim(-1, 1)
        error = values - true
        relative.append(float(error.norm() / true.norm()))
        if i == 0:
            largest = float(error.abs().max())
    return largest, relative
