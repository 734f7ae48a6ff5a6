"""Bytes that operators move to and from memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tcae_ops.selftest.providers import eager
from tcae_ops.selftest.workloads import Workload, make_problem
from tcae_ops.traffic import distinct_bytes


class Traffic(TorchDispatchMode):
    """Counts the bytes that torch's operators read and write, one operator at a time.

    Every operator reads its inputs from memory and writes its results there. Views cost nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func._schema.name.removeprefix("aten::")
        aliases = [it.alias_info for it in func._schema.returns if it.alias_info is not None]
        if name.startswith("empty") or any(not it.is_write for it in aliases):
            return out
        reads = () if name in ("fill_", "zero_") else args
        for t in (*reads, *(out if isinstance(out, (tuple, list)) else (out,))):
            self.bytes += distinct_bytes(t) if isinstance(t, Tensor) else 0
        return out


def eager_bytes(workload: Workload) -> int:
    """Return the bytes that the composition of torch's operators moves."""
    run = eager(workload, make_problem(workload, torch.device("meta")))
    with Traffic() as traffic:
        run()
    return traffic.bytes


def our_bytes(workload: Workload) -> int:
    """Return the bytes that must move, with the zeros that an image's gradient is added to."""
    problem = make_problem(workload, torch.device("meta"))
    return problem.bytes + (problem.image.nbytes if problem.image.requires_grad else 0)
