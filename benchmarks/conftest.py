"""Fixtures of all benchmarks, and what is told about the machine."""

from __future__ import annotations

import functools
import os
import statistics
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks import measuring
from benchmarks.cases import DEVICE, plain
from benchmarks.providers import EAGER, OURS, providers, simd_level
from tcae_ops.selftest import speed
from tcae_ops.selftest.providers import Run, Unavailable, eager, ours
from tcae_ops.selftest.workloads import Problem, Workload, make_problem

# A wrong composition is off by about 1. Right ones differ too: derivatives jump at pixel borders
# and where a difference changes its sign, and fp32 positions in normalised units are off by 1e-4
# pixels in a wide image.
RELATIVE_ERROR = 0.05


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict) -> None:
    """Says what matters of the machine, and not its name."""
    machine_info["node"] = ""
    if DEVICE.type == "cuda":
        processor = torch.cuda.get_device_name()
    else:
        cpu = machine_info["cpu"]
        model = f"{cpu.get('brand_raw', machine_info['machine'])} (family {cpu.get('family', '?')})"
        processor = f"{model}, {torch.get_num_threads()} threads on {os.cpu_count()} cores"
    machine_info["tcae"] = {
        "device": DEVICE.type,
        "processor": processor,
        "kernels": simd_level() or "none",
        "torch": str(torch.__version__),
        "copy_gb_per_s": speed.copy_bandwidth(DEVICE) / 1e9,
    }


@pytest.fixture
def against_eager(benchmark: Any) -> Callable[[Workload, str], None]:
    """Measures a provider in turns with the eager composition."""

    def measure(case: Workload, name: str) -> None:
        problem, _ = _posed(case)
        try:
            run = providers(case)[name](case, problem)
        except Unavailable as reason:
            pytest.skip(str(reason))
        speed = _measure(benchmark, case, run, eager(case, problem))
        benchmark.extra_info["provider"] = name
        benchmark.extra_info["speed_over_eager"] = 1.0 if name == EAGER else speed

    return measure


@pytest.fixture
def against_fp32(benchmark: Any) -> Callable[[Workload], None]:
    """Measures our operator on some kind of data in turns with contiguous fp32."""

    def measure(case: Workload) -> None:
        run, rival = (ours()(c, make_problem(c, DEVICE)) for c in (case, plain(case)))
        benchmark.extra_info["speed_over_fp32"] = _measure(benchmark, case, run, rival)
        benchmark.extra_info["provider"] = OURS

    return measure


def _measure(benchmark: Any, case: Workload, run: Run, rival: Run) -> float | None:
    """Checks a run, times it in turns with a rival; returns how many times faster it is."""
    problem, truth = _posed(case)
    benchmark.group = str(case)
    error, relative = measuring.compare(run(), truth)
    assert max(relative) < RELATIVE_ERROR, f"wrong by {relative} of the result and gradients"
    if benchmark.disabled:
        benchmark(run)
        return None
    gpu = measuring.gpu_clock(run)
    run, rival = measuring.synchronised(run), measuring.synchronised(rival)
    times: list[float] = []
    rounds = measuring.rounds(run, rival)
    elsewhere = measuring.Elsewhere()
    benchmark.pedantic(run, setup=lambda: times.append(measuring.seconds(rival)), rounds=rounds)
    disturbed = elsewhere.share()
    median = benchmark.stats.stats.median
    rate = problem.bytes / (median if gpu is None else gpu.cold)
    extra = measuring.extra_bytes(run)
    benchmark.extra_info |= {
        "op": case.op,
        "span": case.span,
        "size": case.size,
        "flow": case.flow,
        "data": case.data,
        "bytes": problem.bytes,
        "gb_per_s": rate / 1e9,
        "share_of_copy": rate / speed.copy_bandwidth(DEVICE),
        "extra_bytes": extra,
        "extra_share_of_image": None if extra is None else extra / problem.image.nbytes,
        "gpu_seconds": None if gpu is None else {"cold": gpu.cold, "warm": gpu.warm},
        "largest_error": error,
        "cores_taken_elsewhere": disturbed,
    }
    return statistics.median(times) / median


@functools.lru_cache(maxsize=1)
def _posed(case: Workload) -> tuple[Problem, list[Tensor]]:
    """A problem, and what the definition makes of its first samples."""
    problem = make_problem(case, DEVICE)
    return problem, list(ours("reference")(case, problem.first(2))())
