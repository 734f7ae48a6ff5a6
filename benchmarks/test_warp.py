"""Speed of warp and blend_warp, beside what a user would use instead."""

from __future__ import annotations

import pytest

from benchmarks.cases import cases, features
from benchmarks.providers import parameters
from tcae_ops.selftest.workloads import (
    ALL_GRADIENTS,
    FLOW_GRADIENTS,
    FORWARD,
    LARGE,
    VARIANTS,
    Workload,
)

CASES = cases("warp", (FORWARD, FLOW_GRADIENTS, ALL_GRADIENTS))
CASES += features((FORWARD, ALL_GRADIENTS))
CASES += cases("blend_warp", (FORWARD, FLOW_GRADIENTS))
KINDS = [
    Workload("warp", span, LARGE, data=kind)
    for span in (FORWARD, ALL_GRADIENTS)
    for kind in VARIANTS
    if (span, kind) != (ALL_GRADIENTS, "uint8")  # bytes have no gradient
]


@pytest.mark.parametrize(("case", "provider"), parameters(CASES), ids=str)
def test_speed(against_eager, case, provider):
    against_eager(case, provider)


@pytest.mark.parametrize("case", KINDS, ids=str)
def test_kinds_of_data(against_fp32, case):
    against_fp32(case)
