"""Run one check of Triton's kernels: ``triton_check.py CASE IMAGE LAYOUT [deterministic]``.

The process checks the copy of the kernels that it imports. It prints where they disagree with the
definition, or nothing.
"""

from __future__ import annotations

import sys

import torch

from tcae_ops.selftest import agreement
from tcae_ops.selftest.cases import CASES, make_inputs


def main(case_name: str, image: str, layout: str, *deterministic: str) -> None:
    """Run the check."""
    case = CASES[case_name]
    inputs = make_inputs(case, getattr(torch, image), layout, torch.device("cpu"))
    torch.use_deterministic_algorithms(bool(deterministic))
    try:
        agreement.agree(inputs.all, case.count, inputs.upstream, case.options, "triton")
    except agreement.Disagreement as error:
        print("definition: " + str(error).partition(",")[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
