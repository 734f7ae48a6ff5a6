"""Speed of the operators here, beside eager and compiled torch and beside copying memory.

On a GPU events are the clock. They measure the work of the GPU, not the time to launch it: a wait
before each round lets the host get ahead.
"""

from __future__ import annotations

import functools
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from tcae_ops.backends import BACKENDS
from tcae_ops.selftest.checks import first_line
from tcae_ops.selftest.places import CPU, devices, usable
from tcae_ops.selftest.providers import Provider, Run, compiled, eager, ours
from tcae_ops.selftest.workloads import (
    ALL_GRADIENTS,
    CONTIGUOUS,
    FLOW_GRADIENTS,
    FORWARD,
    LARGE,
    TRAINING,
    Workload,
    make_problem,
)

SPANS = {"warp": (FORWARD, ALL_GRADIENTS), "blend_warp_l1": (FORWARD, FLOW_GRADIENTS)}
EAGER, COMPILED = "eager", "torch.compile"
COMPILED_OP = "blend_warp_l1"  # compiling takes long
_SECONDS = 0.25  # for one timing of one run
_ROUNDS = (3, 30)  # fewest and most
_FLUSHED = 256 * 2**20  # bytes, more than any cache holds
_AHEAD = 2 * 10**6  # clock ticks of a GPU, some 1 ms


@dataclass(frozen=True)
class Timing:
    """Median times in seconds."""

    cold: float  # with none of the inputs in the caches
    warm: float  # right after another run


@dataclass(frozen=True)
class Measurement:
    """One row of the table of speeds."""

    workload: Workload
    provider: str
    bytes: int  # that must move
    timing: Timing | None
    problem: str = ""  # why there is no timing

    @property
    def ours(self) -> bool:
        """Whether the provider is one of our backends."""
        return self.provider not in (EAGER, COMPILED)

    def __str__(self) -> str:
        times = f"not measured: {self.problem}"
        if self.timing is not None:
            times = f"{1e3 * self.timing.cold:.3g} ms cold, {1e3 * self.timing.warm:.3g} ms warm"
        return f"{self.provider:<18} {self.workload}: {times}"


def measure_all() -> Iterator[Measurement]:
    """Measure every backend and the baselines, on the GPU if there is one, else on the CPU."""
    device = devices()[-1]
    # On a CPU Triton's kernels would be interpreted, which takes hours. The definition is slow too.
    fast = {"cpp"} if device == CPU else set(BACKENDS) - {"reference"}
    ours_here = [it for it in usable() if it.device == device and it.backend in fast]
    for op, spans in SPANS.items():
        for span, data in itertools.product(spans, (CONTIGUOUS, TRAINING)):
            workload = Workload(op, span, LARGE, data=data)
            for place in ours_here:
                yield _measure(workload, str(place), ours(place.backend), device)
            yield _measure(workload, EAGER, eager, device)
            if op == COMPILED_OP and data == CONTIGUOUS:
                yield _measure(workload, COMPILED, compiled, device)


def _measure(
    workload: Workload, name: str, provider: Provider, device: torch.device
) -> Measurement:
    problem = make_problem(workload, device)
    try:
        timing = time_run(provider(workload, problem), device)
    except Exception as error:  # torch has no common base class; the report says what happened
        return Measurement(workload, name, problem.bytes, None, first_line(error))
    return Measurement(workload, name, problem.bytes, timing)


def time_run(run: Run, device: torch.device) -> Timing:
    """Time a run, with cold and with warm caches."""
    clock = gpu_seconds if device.type == "cuda" else cpu_seconds
    run()  # one-time work: compile kernels, allocate memory
    flushed = torch.empty(_FLUSHED, dtype=torch.uint8, device=device)
    return Timing(
        statistics.median(clock(run, flushed.zero_)),
        statistics.median(clock(run, lambda: None)),
    )


def cpu_seconds(run: Run, prepare: Callable[[], Any]) -> list[float]:
    """Time several runs, each after a preparation that is not timed."""
    times: list[float] = []
    while len(times) < _ROUNDS[0] or (sum(times) < _SECONDS and len(times) < _ROUNDS[1]):
        prepare()
        start = time.perf_counter()
        results = run()
        times.append(time.perf_counter() - start)
        del results
    return times


def gpu_seconds(run: Run, prepare: Callable[[], Any]) -> list[float]:
    """Do the same with events in the current stream as the clock."""
    rounds = []
    for _ in range(_ROUNDS[1]):
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        prepare()
        torch.cuda._sleep(_AHEAD)
        start.record()
        run()
        stop.record()
        rounds.append((start, stop))
    torch.cuda.synchronize()
    return [start.elapsed_time(stop) / 1e3 for start, stop in rounds]


@functools.cache
def copy_bandwidth(device: torch.device) -> float:
    """Measure once how many bytes per second `Tensor.copy_` reads and writes."""
    source = torch.ones(_FLUSHED // 4, device=device)
    sink = torch.zeros_like(source)
    return 2 * _FLUSHED / time_run(lambda: (sink.copy_(source),), device).cold
