"""Processes that average their gradients, and what is left of them."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
import torch
import torch.utils.deterministic

from tcae.training.device import deterministic

# As a training run: gradients are averaged, then the team ends.
ENDS = """
import os, torch, torch.distributed as dist
from torch import nn
from tcae.distributed import team
from tcae.training.device import data_parallel

def talking():  # threads that send tensors
    names = [open(f"/proc/self/task/{task}/comm").read() for task in os.listdir("/proc/self/task")]
    return sum("gloo_runloop" in name for name in names)

with team.team("cpu", 600):
    layer = nn.Linear(2, 1)
    parallel = data_parallel(layer, torch.device("cpu"))
    parallel(torch.full((1, 2), float(dist.get_rank()))).backward()
    assert layer.weight.grad.tolist() == [[0.5, 0.5]]
    before = talking()
    del parallel
os.write(1, f"{before} {talking()}".encode())
"""


def test_determinism_ends_with_its_block() -> None:
    gpu, memory = torch.device("cuda"), torch.utils.deterministic
    before = memory.fill_uninitialized_memory
    with pytest.raises(KeyError), deterministic(gpu):
        assert torch.are_deterministic_algorithms_enabled()
        assert not memory.fill_uninitialized_memory
        raise KeyError
    assert not torch.are_deterministic_algorithms_enabled()
    assert memory.fill_uninitialized_memory is before
    for device, wanted in (("cpu", True), ("cuda", False)):
        with deterministic(torch.device(device), wanted):
            assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
def test_threads_that_send_tensors_end_with_the_team(
    run_team: Callable[..., list[tuple[int, str, str]]],
) -> None:
    """One that lets go of a tensor while Python ends aborts the program, now and then."""
    for status, output, errors in run_team(["-c", ENDS], 2):
        assert status == 0, errors
        before, after = map(int, output.split())
        assert after <= before // 2  # torch never frees those that averaged gradients
