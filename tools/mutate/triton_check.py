"""Runs one check of Triton's kernels in a process of its own, on whatever copy of them it finds.

Prints what the definition says against them; nothing if it agrees. CASE IMAGE LAYOUT, and
`deterministic` if the image's gradient must be so.
"""

from __future__ import annotations

import sys

import torch

from tcae_ops.selftest import agreement
from tcae_ops.selftest.cases import CASES, make_inputs


def main(case_name: str, image: str, layout: str, *deterministic: str) -> None:
    """Runs the check."""
    case = CASES[case_name]
    inputs = make_inputs(case, getattr(torch, image), layout, torch.device("cpu"))
    torch.use_deterministic_algorithms(bool(deterministic))
    try:
        agreement.agree(inputs.all, case.count, inputs.upstream, case.options, "triton")
    except agreement.Disagreement as error:
        print("definition: " + str(error).partition(",")[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
