"""The steps, in the order of what one wants to know first."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from running import Step

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PRESETS = ("default", "paper", "official")
SANITIZERS = ("memcheck", "racecheck")
# What limits a kernel: memory, instruction issue, occupancy, and how scattered its accesses are.
METRICS = (
    "gpu__time_duration.sum",
    "dram__throughput.avg.pct_of_peak_sustained_elapsed",
    "lts__t_sectors.sum",
    "l1tex__average_t_sectors_per_request_pipe_lsu_mem_global_op_ld.ratio",
    "l1tex__average_t_sectors_per_request_pipe_lsu_mem_global_op_red.ratio",
    "smsp__issue_active.avg.pct_of_peak_sustained_active",
    "smsp__inst_executed.sum",
    "sm__warps_active.avg.pct_of_peak_sustained_active",
)


@dataclass(frozen=True)
class Machine:
    """Where the steps run.

    Attributes:
        out: The directory for all that is written.
        gpus: The number of GPUs, 0 in a rehearsal.
        architectures: Of the GPUs, as CMake lists them.
    """

    out: Path
    gpus: int
    architectures: str = ""

    @classmethod
    def here(cls, out: Path, rehearsal: bool) -> Machine:
        """Return this machine."""
        if rehearsal:
            return cls(out, 0)
        count = torch.cuda.device_count()
        kinds = {"{}{}".format(*torch.cuda.get_device_capability(gpu)) for gpu in range(count)}
        return cls(out, count, ";".join(sorted(kinds)))

    @property
    def device(self) -> str:
        """The name of the device in torch."""
        return "cuda" if self.gpus else "cpu"

    @property
    def patience(self) -> int:
        """How many times as long as on a GPU's machine a step may take."""
        return 1 if self.gpus else 4

    @property
    def built(self) -> Path:
        """Where the first step installs the packages."""
        return self.out / "packages"

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which Python finds what was built, and sees GPUs only if they take part.

        Should the build fail, the checkout is found, with Triton's kernels.
        """
        path = os.pathsep.join(map(str, (self.built, ROOT)))
        cpu = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
        return {"PYTHONPATH": path, "TCAE_OPS_BACKEND": "", **({} if self.gpus else cpu)}


def plan(machine: Machine) -> Iterator[Step]:
    """Yield the steps."""
    yield _build(machine)
    yield _step(machine, "self-test, quick", 90, "-m", "tcae_ops.selftest", "--quick")
    for preset in PRESETS:
        yield _program(machine, f"training, {preset}", 60, "training_losses.py", preset)
    yield _program(machine, "step as a graph", 60, "captured_losses.py")
    for tool in SANITIZERS:
        yield _sanitized(machine, tool)
    yield _program(machine, "operators", 120, "operators.py")
    whole = _step(machine, "self-test", 150, "-m", "tcae_ops.selftest")
    yield whole if machine.gpus else replace(whole, missing="a rehearsal takes the quick one")
    yield _program(machine, "images per second", 120, "images_per_second.py")
    yield _two_processes(machine)
    yield _profile(machine)


def _build(machine: Machine) -> Step:
    environment = {**machine.environment, "TCAE_OPS_CUDA": "OFF"}
    if machine.gpus:
        environment["TCAE_OPS_CUDA"] = "ON"
        environment["TCAE_OPS_CUDA_ARCHITECTURES"] = machine.architectures
    command = [sys.executable, str(HERE / "build.py"), str(machine.out)]
    return Step("build", command, 240 * machine.patience, environment)


def _step(machine: Machine, name: str, limit: float, *arguments: str) -> Step:
    command = [sys.executable, *arguments]
    return Step(name, command, limit * machine.patience, machine.environment)


def _program(machine: Machine, name: str, limit: float, file: str, *arguments: str) -> Step:
    return _step(machine, name, limit, str(HERE / file), machine.device, *arguments)


def _sanitized(machine: Machine, tool: str) -> Step:
    step = _program(machine, tool, 90, "one_case.py", "small")
    if not machine.gpus:  # the program itself, at least
        return step
    checked = ["compute-sanitizer", "--tool", tool, "--error-exitcode", "9", *step.command]
    return Step(tool, checked, step.limit, step.environment, _lacks("compute-sanitizer"))


def _two_processes(machine: Machine) -> Step:
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    program = [str(HERE / "two_processes.py"), machine.device]
    missing = "there is one GPU" if machine.gpus == 1 else ""
    command = [sys.executable, *torchrun, *program]
    return Step("two processes", command, 90 * machine.patience, machine.environment, missing)


def _profile(machine: Machine) -> Step:
    step = _program(machine, "profile", 90, "one_case.py", "large")
    if not machine.gpus:
        return step
    kernels = "regex:(forward|backward|loss)_kernel"
    ncu = ["ncu", "--clock-control", "none", "--kernel-name", kernels, "--launch-count", "3"]
    ncu += ["--metrics", ",".join(METRICS)]
    return Step("profile", [*ncu, *step.command], step.limit, step.environment, _lacks("ncu"))


def _lacks(program: str) -> str:
    return "" if shutil.which(program) else f"there is no {program}"
