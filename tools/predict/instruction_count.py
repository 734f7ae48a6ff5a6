"""Count the instructions of the CUDA kernels in the machine code that nvcc generates.

A kernel for common calls knows types and paddings when it is compiled, but not which gradients
are wanted. Here a copy of the sources knows that as well, and holds one kernel, so that one path
through the code is left. The cost of those choices is not counted. The accesses to memory are
known, and show that the path is the right one.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tcae_ops.selftest.workloads import ALL_GRADIENTS, FORWARD, LARGE, TRAINING, Workload

ROOT = Path(__file__).resolve().parents[2]
ARCHITECTURE = "sm_90"
FLOWS = 2  # blended, in the workloads
CHANNELS = LARGE[1]
WARPS = 8  # of a block: kThreads in csrc/cuda/groups.h
MEMORY = ("LDG", "STG", "RED", "ATOM")  # prefixes of instructions that access global memory


@dataclass(frozen=True)
class KernelPath:
    """A path through a kernel for common calls. A thread has one pixel."""

    kernel: str  # "forward" or "backward"
    blended: bool
    loss: bool
    image: bool = False  # whether the image's gradient is wanted
    types: tuple[str, str] = ("float", "float")  # of images and of fields, as in csrc/cuda/facts.h

    @property
    def facts(self) -> str:
        """What the kernel knows."""
        flows = FLOWS if self.blended else 1
        return f"Common<{', '.join(self.types)}, {flows}, {str(self.loss).lower()}>"

    @property
    def accesses(self) -> dict[str, int]:
        """How many accesses of each kind to global memory a thread must make."""
        c, backward = CHANNELS, self.kernel == "backward"
        fields = 3 * FLOWS if self.blended else 2
        of_image, of_field = ("" if it == "float" else ".U16" for it in self.types)
        found = Counter({f"LDG.E{of_image}.CONSTANT": 4 * c, "RED": 4 * c * self.image})
        found[f"LDG.E{of_field}"] += fields
        found[f"LDG.E{of_image}"] += c * (self.loss or backward)  # target or gradient
        found["LDG.E"] += self.loss and backward  # the gradient of the sample's loss
        found[f"STG.E{of_field}"] += fields * backward
        found[f"STG.E{of_image}"] += c * (not self.loss and not backward)
        found["STG.E.64"] += self.loss and not backward  # one sum per block
        return {kind: int(count) for kind, count in found.items() if count}


def edits(path: KernelPath) -> Iterator[tuple[str, str, str]]:
    """Yield replacements that decide at compile time: a file of csrc/cuda, a text, the new text."""
    yield "forward.cu", "a.warped.exists()", "false"  # besides the loss
    yield "backward.cu", "a.by_warped.exists()", "false"
    yield "backward.cu", "a.by_target.exists()", "false"
    yield "backward.cu", "a.by_image.exists()", str(path.image).lower()
    yield "image_gradient.h", "to.wholes != nullptr", "false"
    # Only one kernel. The calls of with_facts for the other kind of results instantiate it as well.
    yield "choice.h", "if (s.wide) return f(Anything<double, 1>());", f"return f({path.facts}());"
    yield "choice.h", "if (common) {", "if constexpr (sizeof(F) == 0) {"
    for pixels in ("kQuad", "2"):
        yield "choice.h", f"return f(Anything<float, {pixels}>());", f"return f({path.facts}());"


def specialize(path: KernelPath, folder: Path) -> None:
    """Write the kernels' sources with only one path left in them."""
    shutil.copytree(ROOT / "csrc", folder, dirs_exist_ok=True)
    for file, old, new in edits(path):
        target = folder / "cuda" / file
        text = target.read_text()
        if old not in text:
            raise ValueError(f"csrc/cuda/{file} does not hold {old!r} any more; update edits()")
        target.write_text(text.replace(old, new))


def disassemble(path: KernelPath) -> str:
    """Return the instructions of a path, as cuobjdump prints them."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "csrc"
        specialize(path, source)
        flags = ["-std=c++17", "--expt-relaxed-constexpr", "-fmad=false"]  # as in CMakeLists.txt
        flags += [f"-arch={ARCHITECTURE}", f"-I{source}/include", "-cubin"]
        binary = Path(folder) / "kernels.cubin"
        _run(_nvcc(), *flags, str(source / f"cuda/{path.kernel}.cu"), "-o", str(binary))
        text = _run(_cuobjdump(), "-sass", str(binary))
    functions = re.split(r"\n\s+Function : ", text)
    return next(f for f in functions if f"{path.kernel}_kernelI" in f.partition("\n")[0])


@dataclass(frozen=True)
class Instruction:
    """One line of a listing."""

    address: int
    conditional: bool
    name: str
    target: int | None  # of a branch


def parse(listing: str) -> list[Instruction]:
    """Return the instructions of one function."""
    pattern = r"/\*([0-9a-f]{4,})\*/\s+(@!?U?P\w+ +)?([A-Z][\w.]+)([^;]*);"
    found = []
    for address, predicate, name, operands in re.findall(pattern, listing):
        target = re.search(r"0x([0-9a-f]+)\s*$", operands) if name.startswith("BRA") else None
        where = int(target[1], 16) if target else None
        found.append(Instruction(int(address, 16), bool(predicate), name, where))
    return found


def walk(code: Sequence[Instruction]) -> list[str]:
    """Return the names of the instructions that a thread executes.

    There are no loops. A forward branch is not taken, unless it skips the slow path of a division,
    which is a call.

    Raises:
        ValueError: There is a loop.
    """
    index = {it.address: i for i, it in enumerate(code)}
    names, i = [], 0
    while True:
        it = code[i]
        names.append(it.name)
        if it.name == "EXIT" and not it.conditional:
            return names
        i += 1
        if it.target is None:
            continue
        if it.target <= it.address:
            raise ValueError(f"the kernel has a loop, at {it.address:#x}")
        if not it.conditional or _is_slow_path(code[i : index[it.target]]):
            i = index[it.target]


def _is_slow_path(code: Sequence[Instruction]) -> bool:
    calls = any(it.name.startswith("CALL") for it in code)
    return calls and not any(it.name.startswith(MEMORY) for it in code)


@functools.cache
def instructions(path: KernelPath) -> float:
    """Return how many instructions a thread executes on a path, on average.

    After the barrier one warp of a block adds up the sums of all. The others are done.

    Raises:
        ValueError: The path does not make the accesses to memory that it must make.
    """
    names = walk(parse(disassemble(path)))
    found: dict[str, int] = {}
    for name in names:
        kind = "RED" if name.startswith("RED") else name
        if kind.startswith(MEMORY):
            found[kind] = found.get(kind, 0) + 1
    if found != path.accesses:
        raise ValueError(f"{path} makes the accesses {found}, not {path.accesses}")
    barriers = [i for i, name in enumerate(names) if name.startswith("BAR")]
    of_most = names.index("EXIT", barriers[0]) + 1 if barriers else len(names)
    return of_most + (len(names) - of_most) / WARPS


def instructions_of(workload: Workload) -> float:
    """Return the instructions per pixel of all kernels of a workload."""
    blended, loss = workload.op.startswith("blend"), workload.op.endswith("l1")
    types = ("float", "BFloat16" if workload.data == TRAINING else "float")
    paths = [KernelPath("forward", blended, loss, types=types)]
    if workload.span != FORWARD:
        image = workload.span == ALL_GRADIENTS
        paths.append(KernelPath("backward", blended, loss, image, types))
    return sum(map(instructions, paths))


def _nvcc() -> str:
    path = os.environ.get("CUDACXX") or shutil.which("nvcc")
    if path is None:
        raise FileNotFoundError("nvcc was not found")
    return path


def _cuobjdump() -> str:
    directories = [str(Path(_nvcc()).resolve().parent), os.environ.get("PATH", "")]
    triton = importlib.util.find_spec("triton")
    if triton is not None and triton.origin is not None:
        directories.append(str(Path(triton.origin).parent / "backends/nvidia/bin"))
    path = shutil.which("cuobjdump", path=os.pathsep.join(directories))
    if path is None:
        raise FileNotFoundError("cuobjdump was not found; `pip install triton` brings one")
    return path


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{command[0]} failed: {done.stderr.strip().splitlines()[-1:]}")
    return done.stdout


def nvcc_version() -> str:
    """Return the version of nvcc, such as 13.0, on which the counts depend."""
    match = re.search(r"release (\d+\.\d+)", _run(_nvcc(), "--version"))
    return match[1] if match else "unknown"
