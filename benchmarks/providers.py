"""The providers: our operators, and what a user would use instead, if it is installed.

Work that can be done once for many calls is done beforehand: identity grids, the sampling grid of a
bare `F.grid_sample`, the maps and interleaved pixels of `cv2.remap`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytest
import torch

from benchmarks.cases import DEVICE, FEATURES, SMALL_IMAGES
from benchmarks.records import COMPILED, EAGER, OURS, own
from tcae_ops import backends, library
from tcae_ops.selftest import places
from tcae_ops.selftest.providers import (
    Provider,
    Run,
    Unavailable,
    compiled,
    eager,
    identity_grid,
    kornia_remap,
    ours,
    ready_grid,
)
from tcae_ops.selftest.workloads import CONTIGUOUS, FORWARD, LARGE, Problem, Workload

MAIN_OPS = ("warp", "blend_warp_l1")  # slow providers are measured on these only


def providers(case: Workload) -> dict[str, Provider]:
    """Return all providers of a case, by name. The first is our default."""
    found = {OURS: ours(), EAGER: eager}
    if case.shape == SMALL_IMAGES and case.op in MAIN_OPS:
        default = backends.choose(DEVICE, None)
        for place in places.usable():
            if place.device == DEVICE and backends.BACKENDS[place.backend] is not default:
                found[f"{OURS}, {place.backend}"] = ours(place.backend)
    if case.shape in (LARGE, *FEATURES) and case.op in MAIN_OPS and simd_level() is not None:
        for level in library.SIMD_LEVELS:
            if level != simd_level():
                found[f"{OURS}, {level}"] = at_level(level)
    if case.op in MAIN_OPS and case.data == CONTIGUOUS:
        found[COMPILED] = compiled
    if case.op == "warp":
        found["F.grid_sample"] = ready_grid
        if case.data == CONTIGUOUS:
            found["kornia"] = kornia_remap
        if case.span == FORWARD and DEVICE.type == "cpu":
            found["cv2.remap"] = cv2_remap
    return found


def parameters(cases: Iterable[Workload]) -> list[Any]:
    """Return each case with each of its providers, marked if only `--every-case` measures it."""

    def marks(case: Workload, name: str) -> Any:
        slow = own(name) or (name == COMPILED and (case.shape, case.flow) != (LARGE, "smooth"))
        return pytest.mark.every_case if slow else ()

    return [pytest.param(c, name, marks=marks(c, name)) for c in cases for name in providers(c)]


def at_level(level: str) -> Provider:
    """Return the provider of our operator with the CPU kernels of one instruction set."""

    def provider(case: Workload, problem: Problem) -> Run:
        run = ours()(case, problem)

        def switched() -> Sequence[Any]:
            with library.simd_level(level):
                return run()

        try:
            switched()
        except ValueError as error:
            raise Unavailable(str(error)) from error
        return switched

    return provider


def simd_level() -> str | None:
    """Return the instruction set of the CPU kernels that run, or None if none do."""
    usable = DEVICE.type == "cpu" and library.CPU.problem is None
    return torch.ops.tcae_ops.simd_level() if usable else None


def cv2_remap(case: Workload, problem: Problem) -> Run:
    """Provide OpenCV's `remap`, image by image, with interleaved channels, forward only."""
    import cv2
    import numpy as np

    cv2.setNumThreads(torch.get_num_threads())
    n, c, h, w = problem.image.shape
    if c > 128:
        raise Unavailable("OpenCV takes more channels for another axis")
    images = problem.image.movedim(1, -1).contiguous().numpy()
    pixels = torch.tensor([(w - 1) / 2, (h - 1) / 2])[:, None, None]
    maps = ((identity_grid(problem.image) + 1 + problem.flows[0]) * pixels).contiguous().numpy()

    def run() -> Sequence[Any]:
        out = np.empty_like(images)
        for i in range(n):
            cv2.remap(
                images[i],
                maps[i, 0],
                maps[i, 1],
                cv2.INTER_LINEAR,
                dst=out[i],
                borderMode=cv2.BORDER_REPLICATE,
            )
        return (out,)

    return run
