"""Fixtures of all benchmarks, and the description of the machine."""

from __future__ import annotations

import functools
import os
import statistics
import time
from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec
from typing import Any

import cv2
import pytest
import torch
from torch import Tensor

from benchmarks import measuring
from benchmarks.cases import DEVICE, plain
from benchmarks.providers import providers, simd_level
from benchmarks.records import EAGER, OURS
from tcae_ops.selftest import speed
from tcae_ops.selftest.providers import Run, Unavailable, eager, ours
from tcae_ops.selftest.workloads import ALL_GRADIENTS, LARGE, Problem, Workload, make_problem

# A wrong composition is off by about 1. Right ones differ, too: derivatives jump at pixel borders
# and where a difference changes its sign. In a wide image fp32 positions in normalised units are
# off by 1e-4 pixels.
RELATIVE_ERROR = 0.05
WARM_UP = 5.0  # seconds


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that measures more than the main table of docs/benchmarks.md."""
    parser.addoption(
        "--every-case",
        action="store_true",
        help="also measure other instruction sets and backends, torch.compile on every shape, "
        "training steps, loader, packer and probe",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only `--every-case` measures."""
    if config.getoption("every_case"):
        return
    left_out = [item for item in items if item.get_closest_marker("every_case")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict) -> None:
    """Describe the machine without its name."""
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
        "versions": {
            "torch": str(torch.__version__),
            "OpenCV": cv2.__version__,
            **({"kornia": metadata.version("kornia")} if find_spec("kornia") else {}),
            "Python": machine_info["python_version"],
        },
        "copy_gb_per_s": speed.copy_bandwidth(DEVICE) / 1e9,
    }


@pytest.fixture(scope="session", autouse=True)
def warmed_up(request: pytest.FixtureRequest) -> None:
    """Wait until clocks are high and the process has its memory."""
    if request.config.getoption("benchmark_disable"):
        return
    measuring.keep_memory()
    case = Workload("warp", ALL_GRADIENTS, LARGE)
    problem = make_problem(case, DEVICE)
    runs = [measuring.synchronised(rival(case, problem)) for rival in (eager, ours())]
    start = time.perf_counter()
    while time.perf_counter() - start < WARM_UP:
        for run in runs:
            run()


@pytest.fixture
def against_eager(benchmark: Any) -> Callable[[Workload, str], None]:
    """Measure a provider, alternating with the eager composition and with our operator."""

    def measure(case: Workload, name: str) -> None:
        problem, _ = _problem_and_truth(case)
        try:
            run = providers(case)[name](case, problem)
        except Unavailable as reason:
            pytest.skip(str(reason))
        rivals = {EAGER: eager(case, problem), OURS: ours()(case, problem)}
        benchmark.extra_info["provider"] = name
        if name in rivals:
            del rivals[name]
            benchmark.extra_info[f"speed_over_{name}"] = 1.0
        _measure(benchmark, case, run, rivals)

    return measure


@pytest.fixture
def against_fp32(benchmark: Any) -> Callable[[Workload], None]:
    """Measure our operator on a kind of data, alternating with contiguous fp32."""

    def measure(case: Workload) -> None:
        run, rival = (ours()(c, make_problem(c, DEVICE)) for c in (case, plain(case)))
        _measure(benchmark, case, run, {"fp32": rival})
        benchmark.extra_info["provider"] = OURS

    return measure


def _measure(benchmark: Any, case: Workload, run: Run, rivals: dict[str, Run]) -> None:
    """Check a run, then time it, alternating with its rivals."""
    problem, truth = _problem_and_truth(case)
    benchmark.group = str(case)
    error, relative = measuring.compare(run(), truth)
    assert max(relative) < RELATIVE_ERROR, f"wrong by {relative} of the result and gradients"
    if benchmark.disabled:
        benchmark(run)
        return
    gpu = measuring.gpu_clock(run)
    run = measuring.synchronised(run)
    rivals = {name: measuring.synchronised(rival) for name, rival in rivals.items()}
    times: dict[str, list[float]] = {name: [] for name in rivals}

    def rivals_first() -> None:
        for name, rival in rivals.items():
            times[name].append(measuring.seconds(rival))

    rounds = measuring.rounds(run, *rivals.values())
    others = measuring.OtherProcesses()
    benchmark.pedantic(run, setup=rivals_first, rounds=rounds)
    disturbed = others.share()
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
        "image_bytes": problem.image.nbytes,
        "extra_bytes": extra,
        "peak_bytes": None if extra is None else extra + measuring.size(run()),
        "gpu_seconds": None if gpu is None else {"cold": gpu.cold, "warm": gpu.warm},
        "largest_error": error,
        "cores_taken_elsewhere": disturbed,
    }
    for name, seconds in times.items():
        benchmark.extra_info[f"speed_over_{name}"] = statistics.median(seconds) / median


@functools.lru_cache(maxsize=1)
def _problem_and_truth(case: Workload) -> tuple[Problem, list[Tensor]]:
    """Return a problem, and the results of the definition for its first samples."""
    problem = make_problem(case, DEVICE)
    return problem, list(ours("reference")(case, problem.first(2))())
