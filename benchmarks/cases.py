"""What is measured: the operators, forward and backward, on some shapes and kinds of flows."""

from __future__ import annotations

from dataclasses import replace

import torch

from tcae_ops.selftest.workloads import CONTIGUOUS, LARGE, Workload

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")

SMALL_IMAGES = (64, 3, 64, 64)
SHAPES = [LARGE, SMALL_IMAGES, (1, 3, 1080, 1920), (1, 3, 32, 32)]


def cases(op: str, spans: tuple[str, ...]) -> list[Workload]:
    """Return the cases of an operator: smooth flows on every shape, rough ones on the large one."""
    found = [Workload(op, span, shape) for shape in SHAPES for span in spans]
    return found + [Workload(op, span, LARGE, "rough") for span in spans]


def plain(case: Workload) -> Workload:
    """Return the same case with contiguous fp32 data."""
    return replace(case, data=CONTIGUOUS)
