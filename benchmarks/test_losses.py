"""Speed of warp_l1 and blend_warp_l1, beside what a user would use instead."""

from __future__ import annotations

import pytest

from benchmarks.cases import cases
from benchmarks.providers import parameters
from tcae_ops.selftest.workloads import FLOW_GRADIENTS, FORWARD, LARGE, VARIANTS, Workload

SPANS = (FORWARD, FLOW_GRADIENTS)
CASES = cases("warp_l1", SPANS) + cases("blend_warp_l1", SPANS)
KINDS = [Workload("blend_warp_l1", span, LARGE, data=kind) for span in SPANS for kind in VARIANTS]


@pytest.mark.parametrize(("case", "provider"), parameters(CASES), ids=str)
def test_speed(against_eager, case, provider):
    against_eager(case, provider)


@pytest.mark.parametrize("case", KINDS, ids=str)
def test_kinds_of_data(against_fp32, case):
    against_fp32(case)
