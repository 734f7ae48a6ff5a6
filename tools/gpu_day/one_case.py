"""Runs one case of each kernel, for programs that watch kernels.

usage: python one_case.py DEVICE SIZE

SIZE is "small", every backend of the device, or "large", the fastest one.
"""

from __future__ import annotations

import sys

import torch

from tcae.training.device import wait_for
from tcae_ops.selftest.places import usable
from tcae_ops.selftest.providers import ours
from tcae_ops.selftest.workloads import ALL_GRADIENTS, LARGE, Workload, make_problem

SHAPES = {"small": (2, 3, 24, 40), "large": LARGE}
OPERATORS = ("warp", "blend_warp_l1")


def main() -> None:
    """Run the kernels of one or of all backends."""
    device, size = torch.device(sys.argv[1]), sys.argv[2]
    names = [it.backend for it in usable() if it.device.type == device.type]
    names = [name for name in names if name != "reference"]
    if size == "large":
        names = names[:1]
    for name in names:
        for operator in OPERATORS:
            case = Workload(operator, ALL_GRADIENTS, SHAPES[size])
            result, *gradients = ours(name)(case, make_problem(case, device))()
            wait_for(device)
            assert all(it.isfinite().all() for it in (result, *gradients)), f"{name}: {operator}"
            print(f"{name}: {case}")
    assert names, "no backend has kernels for this device"
    print(f"{', '.join(OPERATORS)} with all gradients by {', '.join(names)}")


if __name__ == "__main__":
    main()
