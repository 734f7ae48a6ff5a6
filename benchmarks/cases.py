"""What is measured: the operators, forward and backward, on some shapes and kinds of flows."""

from __future__ import annotations

from dataclasses import replace

import torch

from tcae_ops.selftest.workloads import CONTIGUOUS, LARGE, Workload

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")

SMALL_IMAGES = (64, 3, 64, 64)
FEATURES = [
    (8, 128, 64, 64),
    (1, 64, 128, 128),
    (1, 256, 64, 64),
    (1, 16, 256, 256),
    (1, 8, 128, 128),
]
SHAPES = [LARGE, SMALL_IMAGES, (1, 3, 1080, 1920), (1, 3, 32, 32)]


def cases(op: str, spans: tuple[str, ...]) -> list[Workload]:
    """Return the cases of an operator: smooth flows on every shape, rough ones on the large one."""
    found = [Workload(op, span, shape) for shape in SHAPES for span in spans]
    return found + [Workload(op, span, LARGE, "rough") for span in spans]


def features(spans: tuple[str, ...]) -> list[Workload]:
    """Return cases of `warp` on the features of a network, whose channels are contiguous."""
    kind = "fp32-channels-last"
    return [Workload("warp", span, shape, data=kind) for shape in FEATURES for span in spans]


def plain(case: Workload) -> Workload:
    """Return the same case with contiguous fp32 data."""
    return replace(case, data=CONTIGUOUS)
