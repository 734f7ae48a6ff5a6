"""Who does it: our operators and what one would use instead.

A provider turns a problem into a function that computes the result and the gradients of
everything in `Problem.needs`. What can be prepared once for many calls, is: identity grids, the
sampling grid of a bare `F.grid_sample`, the maps and interleaved pixels of `cv2.remap`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import tcae_ops
from benchmarks.cases import DEVICE, FORWARD, LARGE, SMALL_IMAGES, Case, Problem
from tcae_ops import backends, library

Run = Callable[[], Sequence[Any]]
Provider = Callable[[Case, Problem], Run]

OURS = "tcae_ops"
EAGER = "eager"
MAIN_OPS = ("warp", "blend_warp_l1")  # those that take long are measured on these alone


class Unavailable(Exception):
    """A provider that cannot run here, and why."""


def providers(case: Case) -> dict[str, Provider]:
    """All providers of a case, by name; the first is our default."""
    found = {OURS: ours(), EAGER: eager}
    if case.shape == SMALL_IMAGES and case.op in MAIN_OPS:
        default = backends.choose(DEVICE, None)
        for name, run in backends.BACKENDS.items():
            if run is not default and backends.why_not(name, DEVICE) is None:
                found[f"{OURS}, {name}"] = ours(name)
    if case.shape == LARGE and case.op in MAIN_OPS and simd_level() is not None:
        for level in library.SIMD_LEVELS:
            if level != simd_level():
                found[f"{OURS}, {level}"] = at_level(level)
    if case.op in MAIN_OPS:
        found["torch.compile"] = compiled
    if case.op == "warp":
        found["F.grid_sample"] = grid_sample
        if case.span == FORWARD and DEVICE.type == "cpu":
            found["cv2.remap"] = cv2_remap
    return found


def ours(backend: str | None = None) -> Provider:
    """Our operator, by a backend or by the one that is chosen without an override."""

    def provider(case: Case, problem: Problem) -> Run:
        op = getattr(tcae_ops, case.op)
        blends = case.op.startswith("blend")
        arguments = [problem.image, problem.flows if blends else problem.flows[0]]
        arguments += [problem.logits] if blends else []
        arguments += [] if problem.target is None else [problem.target]
        return _differentiated(problem, lambda: op(*arguments, units="normalized", backend=backend))

    return provider


def at_level(level: str) -> Provider:
    """Our operator by the CPU kernels of one instruction set."""

    def provider(case: Case, problem: Problem) -> Run:
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
    """The instruction set of the CPU kernels that run, None if none do."""
    usable = DEVICE.type == "cpu" and library.CPU.problem is None
    return torch.ops.tcae_ops.simd_level() if usable else None


def eager(case: Case, problem: Problem) -> Run:
    """The composition of torch's operators."""
    return _composition(problem, compose)


def compiled(case: Case, problem: Problem) -> Run:
    """`torch.compile` of the same composition."""
    run = _composition(problem, torch.compile(compose, fullgraph=True, dynamic=False))
    torch.compiler.reset()
    try:
        run()
    except Exception as error:  # torch names no common base of what can go wrong here
        raise Unavailable(f"torch.compile failed: {str(error).strip().splitlines()[0]}") from error
    return run


def compose(
    identity: Tensor,
    image: Tensor,
    flows: Sequence[Tensor],
    logits: Sequence[Tensor],
    target: Tensor | None,
) -> Tensor:
    """Blend, warp and L1 by torch's own operators. The softmax of two is a sigmoid, and faster."""
    flow = flows[0]
    if logits:
        flow = torch.lerp(flows[1], flows[0], torch.sigmoid(logits[0] - logits[1]))
    grid = (identity + flow).movedim(1, -1)
    warped = F.grid_sample(image, grid, padding_mode="border", align_corners=True)
    return warped if target is None else (warped - target).abs().mean((1, 2, 3))


def grid_sample(case: Case, problem: Problem) -> Run:
    """`F.grid_sample` alone, from a grid that is there already."""
    identity = _identity(problem.image)
    grid = (identity + problem.flows[0].detach()).movedim(1, -1).contiguous()
    grid.requires_grad_(problem.flows[0].requires_grad)
    bare = Problem(problem.image, (grid,), (), None, problem.upstream)
    return _differentiated(
        bare,
        lambda: F.grid_sample(bare.image, grid, padding_mode="border", align_corners=True),
    )


def cv2_remap(case: Case, problem: Problem) -> Run:
    """OpenCV's `remap`, image by image, channels interleaved as it likes them; forward only."""
    import cv2
    import numpy as np

    cv2.setNumThreads(torch.get_num_threads())
    n, _, h, w = problem.image.shape
    images = problem.image.movedim(1, -1).contiguous().numpy()
    pixels = torch.tensor([(w - 1) / 2, (h - 1) / 2])[:, None, None]
    maps = ((_identity(problem.image) + 1 + problem.flows[0]) * pixels).contiguous().numpy()

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


def _composition(problem: Problem, function: Callable[..., Tensor]) -> Run:
    identity = _identity(problem.image)
    p = problem
    return _differentiated(
        problem, lambda: function(identity, p.image, p.flows, p.logits, p.target)
    )


def _differentiated(problem: Problem, function: Callable[[], Tensor]) -> Run:
    needs, upstream = problem.needs, problem.upstream
    if not needs:
        return lambda: (function(),)

    def run() -> Sequence[Tensor]:
        result = function()
        return result, *torch.autograd.grad(result, needs, upstream)

    return run


def _identity(image: Tensor) -> Tensor:
    """Where every pixel is, in normalised units: (1, 2, H, W)."""
    h, w = image.shape[2:]
    x = torch.linspace(-1, 1, w, device=image.device)
    y = torch.linspace(-1, 1, h, device=image.device)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"))[None]
