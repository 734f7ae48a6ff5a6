"""How steps are computed: precision, determinism, random numbers, compilation, many processes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch
import torch.utils.deterministic
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tcae.distributed import ranks, team
from tcae.models.passes import compile_passes, divide_passes, recompute_passes
from tcae.models.twin_cycle import TwinCycle

Compiled = Literal["none", "passes", "step"]
"""What of training is compiled: nothing, the passes of the model, or the whole step at once."""


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return a context that computes in bfloat16 if `OptimizerConfig.precision` asks for it."""
    bf16 = precision == "bf16" or (precision == "auto" and supports_bf16(device))
    return torch.autocast(device.type, torch.bfloat16, enabled=bf16)


@contextlib.contextmanager
def deterministic(device: torch.device, wanted: bool = True) -> Iterator[None]:
    """Make torch compute the same bits every time inside the block. On a CPU it does so anyway.

    Memory that is about to be written is not filled before, as torch would do: no kernel of a step
    reads what it has not written.
    """
    if not wanted or device.type != "cuda":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    memory: Any = torch.utils.deterministic
    before = torch.are_deterministic_algorithms_enabled(), memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        memory.fill_uninitialized_memory = before[1]


def wait_for(device: torch.device) -> None:
    """Wait until a GPU has done all that was launched."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def configure_passes(
    model: TwinCycle, compiled: bool, recomputed: bool, micro_batches: int = 1
) -> None:
    """Change how a model computes its passes in training.

    Args:
        model: The model, changed in place.
        compiled: Compile them. On a GPU they run as CUDA graphs.
        recomputed: Keep only their inputs and compute them again for the gradient.
        micro_batches: Do so of so many parts of the batch, one after the other. 1: of the whole.
    """
    if compiled:
        on_gpu = any(parameter.is_cuda for parameter in model.parameters())
        compile_passes(model, "reduce-overhead" if on_gpu else None)
    if micro_batches > 1:
        divide_passes(model, micro_batches)
    elif recomputed:
        recompute_passes(model)


def random_state(device: torch.device) -> dict[str, Tensor]:
    """Return the states of torch's random generators, of the CPU and of the GPU in use."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(device: torch.device, state: Mapping[str, Tensor]) -> None:
    """Set torch's random generators to states that `random_state` returned."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


def begin_step(compiled: bool) -> None:
    """Tell torch that the last step's results may be overwritten, as CUDA graphs do."""
    if compiled:
        torch.compiler.cudagraph_mark_step_begin()


def data_parallel(objective: nn.Module, device: torch.device) -> nn.Module:
    """Wrap the objective so that its gradients are means over all processes.

    Gradients get a process group of their own. torch never frees a group that has averaged
    gradients, and its threads run until the program ends. A thread that then frees a tensor aborts
    the program. The default group sends tensors up to the last moment, so it must not be that one.
    """
    if ranks.world_size() == 1:
        return objective
    devices = [device] if device.type == "cuda" else None
    return DistributedDataParallel(objective, devices, process_group=team.new_group())


def supports_bf16(device: torch.device) -> bool:
    """Return whether the device has instructions for bfloat16 and need not emulate it."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
