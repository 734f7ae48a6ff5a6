"""Measures operators beside what a user would use instead: launches, then bytes per second.

usage: python operators.py DEVICE
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec

import torch

from tcae.training.device import deterministic, wait_for
from tcae_ops import triton
from tcae_ops.selftest.places import usable
from tcae_ops.selftest.providers import (
    Provider,
    compiled,
    eager,
    kornia_remap,
    ours,
    ready_grid,
)
from tcae_ops.selftest.speed import copy_bandwidth, time_run
from tcae_ops.selftest.workloads import (
    ALL_GRADIENTS,
    FLOW_GRADIENTS,
    FORWARD,
    Workload,
    make_problem,
)

OTHERS = ("eager", "F.grid_sample", "kornia", "plain Triton", "torch.compile")
TINY = (1, 3, 8, 8)
LARGE = {"cuda": (64, 3, 256, 256), "cpu": (1, 3, 64, 64)}
LAYOUTS = ("fp32", "fp32-channels-last", "views-channels-last", "bf16")
CALLS = {"cuda": 500, "cpu": 20}
OPERATORS = ("warp", "blend_warp_l1")
KORNIA = find_spec("kornia") is not None


def providers(case: Workload, device: torch.device) -> Iterator[tuple[str, Provider]]:
    """Yield our backends for a device, and the others."""
    for place in usable():
        if place.device.type == device.type and place.backend != "reference":
            yield place.backend, ours(place.backend)
    if case.data == "bf16":  # torch has no grid of another dtype than the image's
        return
    yield "eager", eager
    if case.op == "warp":
        yield "F.grid_sample", ready_grid
        if KORNIA:
            yield "kornia", kornia_remap
        if device.type == "cuda" and case.data == "fp32" and triton.PROBLEM is None:
            from plain_triton import plain_triton

            yield "plain Triton", plain_triton
    elif device.type == "cuda" and case.shape != TINY and case.data == "fp32":
        yield "torch.compile", compiled


def latency(case: Workload, provider: Provider, device: torch.device) -> float:
    """Return the median seconds that a caller waits for one call of many."""
    run = provider(case, make_problem(case, device))
    rounds = []
    for _ in range(5):
        wait_for(device)
        begin = time.perf_counter()
        for _ in range(CALLS[device.type]):
            run()
        wait_for(device)
        rounds.append((time.perf_counter() - begin) / CALLS[device.type])
    return statistics.median(rounds)


def launches(device: torch.device) -> None:
    """Print what a caller waits for one call, on pictures so small that nothing else counts."""
    for op in OPERATORS:
        for span in (FORWARD, ALL_GRADIENTS):
            case = Workload(op, span, TINY)
            for name, provider in providers(case, device):
                for same_bits in (False, True) if span == ALL_GRADIENTS else (False,):
                    if same_bits and name in OTHERS:
                        continue  # torch's backward refuses, the other's sums have any order
                    with deterministic(device, same_bits):
                        seconds = latency(case, provider, device)
                    words = ", deterministic" if same_bits else ""
                    print(f"{1e6 * seconds:8.1f} us a call  {name:<14} {case}{words}", flush=True)


def bandwidth(device: torch.device) -> dict[str, float]:
    """Print times on large pictures and return our shares of the speed of copying."""
    copying, shares = copy_bandwidth(device), {}
    for data in LAYOUTS:
        for op in OPERATORS:
            for span in (FORWARD, FLOW_GRADIENTS):
                case = Workload(op, span, LARGE[device.type], data=data)
                for name, provider in providers(case, device):
                    problem = make_problem(case, device)
                    seconds = time_run(provider(case, problem), device).cold
                    share = problem.bytes / seconds / copying
                    text = f"{1e6 * seconds:9.1f} us, {share:4.0%} of copying"
                    print(f"{text}  {name:<14} {case}", flush=True)
                    if name not in OTHERS:
                        shares[str(case)] = max(shares.get(str(case), 0.0), share)
    return shares


def main() -> None:
    """Measure both."""
    device = torch.device(sys.argv[1])
    if not KORNIA:
        print("kornia's remap is left out: kornia is not installed")
    launches(device)
    shares = bandwidth(device)
    least = min(shares, key=shares.__getitem__)
    middle = statistics.median(shares.values())
    print(f"{middle:.0%} of copying in the middle, least {shares[least]:.0%}: {least}")


if __name__ == "__main__":
    main()
