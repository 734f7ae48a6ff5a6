"""Compile Triton's kernels for a GPU that is not here: ``compile.py ARCHITECTURE FOLDER``.

The operators are called as always. A kernel is not started, but compiled with the arguments of the
launch. Prints JSON: the resources of each kernel.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import binaries
import torch
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

from tcae_ops.selftest.cases import IMAGES, Case, make_inputs
from tcae_ops.triton import MOST_FLOWS, backward, forward, launch

SHAPE = (2, 3, 64, 64)
MOST = f"{MOST_FLOWS} flows"


class Absent:
    """Takes the place of a GPU and its driver."""

    def __init__(self, target: GPUTarget) -> None:
        self.get_current_target = lambda: target
        self.get_current_device = lambda: 0
        self.get_current_stream = lambda device: 0


class Compiler:
    """Takes the place of `launch`."""

    def __init__(self, architecture: str, folder: Path) -> None:
        self.architecture, self.folder = architecture, folder
        self.cuobjdump = binaries.cuobjdump()
        self.kernels: dict[str, dict[str, Any]] = {}
        self.label = ""

    def __call__(
        self, kernel: Any, programs: int, image: Tensor, *arguments: Any, **constants: Any
    ) -> None:
        options = {**constants, **launch.OPTIONS}
        compiled = kernel.warmup(*arguments, **options, grid=(programs,))
        read = self._cuda if "cubin" in compiled.asm else self._hip
        name = f"{kernel.__name__.removesuffix('_kernel')}, {self.label}"
        self.kernels[name] = read(compiled.asm)

    def _cuda(self, parts: dict[str, Any]) -> dict[str, Any]:
        path = self.folder / f"{self.architecture}.cubin"
        path.write_bytes(parts["cubin"])
        usage = binaries.run(self.cuobjdump, "-res-usage", path)
        it = binaries.usage(next(line for line in usage.splitlines() if "REG:" in line))
        lines = binaries.run(self.cuobjdump, "-sass", path).splitlines()
        names = [name for name in map(binaries.instruction, lines) if name is not None]
        loads = sum(name.startswith("LDG") for name in names)
        return {**vars(it), "instructions": sorted(set(names)), "loads": loads}

    def _hip(self, parts: dict[str, Any]) -> dict[str, Any]:
        text = parts["amdgcn"]

        def number(name: str) -> int:
            return int(re.search(rf"\.{name}:\s+(\d+)", text)[1])

        return {
            "registers": number("vgpr_count"),
            "stack": number("private_segment_fixed_size") + number("vgpr_spill_count"),
            "shared": number("group_segment_fixed_size"),
            "instructions": sorted(set(re.findall(r"^\s+([a-z]\w+_\w+)", text, re.MULTILINE))),
        }


def passes() -> Iterator[tuple[str, Case, torch.dtype, bool]]:
    """Yield what to compile: label, case, image type, whether sums are deterministic."""
    for dtype in IMAGES:
        name = str(dtype).removeprefix("torch.")
        yield name, Case(SHAPE, units="normalized"), dtype, False
        if dtype.itemsize >= 4:
            yield f"{name} deterministic", Case(SHAPE), dtype, True
    for padding in ("zeros", "reflection"):
        yield padding, Case(SHAPE, padding=padding), torch.float32, False
    yield "one flow", Case(SHAPE, count=0), torch.float32, False
    yield MOST, Case(SHAPE, count=MOST_FLOWS), torch.float32, False
    yield "odd sizes", Case((2, 3, 63, 61), flow=torch.float16), torch.float32, False


def differentiate(case: Case, dtype: torch.dtype, deterministic: bool) -> None:
    """Run a forward and a backward pass with all results and all gradients."""
    inputs = make_inputs(case, dtype, "contiguous", torch.device("cpu"))
    options = max(case.count, 1), case.count, case.units, case.padding
    results = forward.forward(inputs.all, *options, True)
    needs = [i for i, t in enumerate(inputs.all) if t.dtype.is_floating_point]
    upstream: Sequence[Tensor] = [
        g.to(result.dtype) for g, result in zip(inputs.upstream, results, strict=True)
    ]
    run = backward.backward_deterministic if deterministic else backward.backward
    run(upstream, True, inputs.all, *options, needs)


def main(architecture: str, folder: str) -> None:
    """Run the command."""
    is_cuda = architecture.startswith("sm_")
    number = int(architecture.removeprefix("sm_")) if is_cuda else architecture
    target = GPUTarget("cuda", number, 32) if is_cuda else GPUTarget("hip", number, 64)
    driver.set_active(Absent(target))
    compiler = Compiler(architecture, Path(folder))
    forward.launch = backward.launch = compiler
    for label, case, dtype, deterministic in passes():
        compiler.label = label
        differentiate(case, dtype, deterministic)
    json.dump(compiler.kernels, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
