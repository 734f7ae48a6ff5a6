"""How a step is computed: on what device, in what precision, compiled or not, with whom."""

from __future__ import annotations

import os

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from tcae.distributed import ranks
from tcae.models.passes import compile_passes, recompute_passes
from tcae.models.twin_cycle import TwinCycle


def precise(device: torch.device, precision: str) -> torch.autocast:
    """Computes in bfloat16 where `OptimizerConfig.precision` asks for it."""
    bf16 = precision == "bf16" or (precision == "auto" and has_bf16(device))
    return torch.autocast(device.type, torch.bfloat16, enabled=bf16)


def deterministic(device: torch.device) -> torch.device:
    """Ask for the same bits every time; on a CPU they are the same anyway."""
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    return device


def arrange_passes(model: TwinCycle, compiled: bool, recomputed: bool) -> None:
    """Compile the passes of a model, as CUDA graphs on a GPU, keep less of them, or both."""
    if compiled:
        on_gpu = any(parameter.is_cuda for parameter in model.parameters())
        compile_passes(model, "reduce-overhead" if on_gpu else None)
    if recomputed:
        recompute_passes(model)


def begin_step(compiled: bool) -> None:
    """Say that results of the last step are not needed any more; CUDA graphs overwrite them."""
    if compiled:
        torch.compiler.cudagraph_mark_step_begin()


def shared(objective: nn.Module, device: torch.device) -> nn.Module:
    """The objective, with gradients that are means over the processes.

    They go by a group of their own: torch never frees a group that has averaged gradients, and its
    threads go on to the end of the program, where one that lets go of a tensor aborts it. So the
    world's group, which sends tensors up to the last moment, must not be that one.
    """
    if ranks.world_size() == 1:
        return objective
    devices = [device] if device.type == "cuda" else None
    return DistributedDataParallel(objective, devices, process_group=dist.new_group())


def has_bf16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16 rather than emulating it."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
