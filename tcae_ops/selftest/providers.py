"""What a user would use instead: the composition of torch's operators, eager and compiled.

A provider turns a problem into a function that computes the result and the gradients of
everything in `Problem.needs`. Work that can be done once for many calls is done beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import tcae_ops
from tcae_ops.selftest.workloads import Problem, Workload

Run = Callable[[], Sequence[Any]]
Provider = Callable[[Workload, Problem], Run]


class Unavailable(Exception):
    """A provider cannot run here. The message says why."""


def ours(backend: str | None = None) -> Provider:
    """Return the provider of our operator on a backend, or on the default one."""

    def provider(workload: Workload, problem: Problem) -> Run:
        op = getattr(tcae_ops, workload.op)
        blends = workload.op.startswith("blend")
        arguments = [problem.image, problem.flows if blends else problem.flows[0]]
        arguments += [problem.logits] if blends else []
        arguments += [] if problem.target is None else [problem.target]
        return differentiated(problem, lambda: op(*arguments, units="normalized", backend=backend))

    return provider


def eager(workload: Workload, problem: Problem) -> Run:
    """Provide the composition of torch's operators."""
    return _composition(problem, compose)


def ready_grid(workload: Workload, problem: Problem) -> Run:
    """Provide only `F.grid_sample`, from an existing grid."""
    identity = identity_grid(problem.image)
    grid = (identity + problem.flows[0].detach()).movedim(1, -1).contiguous()
    grid.requires_grad_(problem.flows[0].requires_grad)
    bare = Problem(problem.image, (grid,), (), None, problem.upstream)
    return differentiated(
        bare,
        lambda: F.grid_sample(bare.image, grid, padding_mode="border", align_corners=True),
    )


def kornia_remap(workload: Workload, problem: Problem) -> Run:
    """Provide kornia's `remap`, from the cached identity and the flow as it comes."""
    try:
        from kornia.geometry.transform import remap
    except ModuleNotFoundError as error:
        raise Unavailable("kornia is not installed") from error
    identity, image, flow = identity_grid(problem.image), problem.image, problem.flows[0]
    options: dict[str, Any] = {"padding_mode": "border", "align_corners": True}

    def run() -> Tensor:
        x, y = (identity + flow).unbind(1)
        return remap(image, x, y, normalized_coordinates=True, **options)

    return differentiated(problem, run)


def compiled(workload: Workload, problem: Problem) -> Run:
    """Provide the same composition after ``torch.compile``."""
    run = _composition(problem, torch.compile(compose, fullgraph=True, dynamic=False))
    torch.compiler.reset()
    try:
        run()
    except Exception as error:  # torch has no common base class for what can go wrong here
        raise Unavailable(f"torch.compile failed: {str(error).strip().splitlines()[0]}") from error
    return run


def compose(
    identity: Tensor,
    image: Tensor,
    flows: Sequence[Tensor],
    logits: Sequence[Tensor],
    target: Tensor | None,
) -> Tensor:
    """Blend, warp and compare with torch's own operators. For two fields a sigmoid is faster."""
    flow = flows[0]
    if logits:
        flow = torch.lerp(flows[1], flows[0], torch.sigmoid(logits[0] - logits[1]))
    grid = (identity + flow).movedim(1, -1)
    warped = F.grid_sample(image, grid, padding_mode="border", align_corners=True)
    return warped if target is None else (warped - target).abs().mean((1, 2, 3))


def _composition(problem: Problem, function: Callable[..., Tensor]) -> Run:
    identity = identity_grid(problem.image)
    p = problem
    return differentiated(problem, lambda: function(identity, p.image, p.flows, p.logits, p.target))


def differentiated(problem: Problem, function: Callable[[], Tensor]) -> Run:
    """Return a function that also computes the gradients of everything in `Problem.needs`."""
    needs, upstream = problem.needs, problem.upstream
    if not needs:
        return lambda: (function(),)

    def run() -> Sequence[Tensor]:
        result = function()
        return result, *torch.autograd.grad(result, needs, upstream)

    return run


def identity_grid(image: Tensor) -> Tensor:
    """Return the positions of all pixels, in normalised units: (1, 2, H, W)."""
    h, w = image.shape[2:]
    x = torch.linspace(-1, 1, w, device=image.device)
    y = torch.linspace(-1, 1, h, device=image.device)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"))[None]
