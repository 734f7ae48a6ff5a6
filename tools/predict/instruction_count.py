"""Count the instructions of the CUDA kernels in the machine code that nvcc generates.

A kernel chooses between types, layouts and paddings when it runs. Here a copy of the sources makes
the choices of the common case at compile time, so that one path through the code is left. The cost
of the choices themselves is not counted. The accesses to memory are known, and show that the path
is the right one.
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

from tcae_ops.selftest.workloads import ALL_GRADIENTS, FORWARD, LARGE, Workload

ROOT = Path(__file__).resolve().parents[2]
ARCHITECTURE = "sm_90"
PIXELS_OF_A_THREAD = 4  # kQuad in csrc/cuda/groups.h
FLOWS = 2  # blended, in the workloads
CHANNELS = LARGE[1]
QUAD = "std::integral_constant<int, kQuad>()"
MEMORY = ("LDG", "STG", "RED", "ATOM")  # prefixes of instructions that access global memory


@dataclass(frozen=True)
class KernelPath:
    """A path through a kernel in its common case: one type, contiguous, padding "border"."""

    kernel: str  # "forward" or "backward"
    blended: bool
    loss: bool
    image: bool = False  # whether the image's gradient is wanted
    half: bool = False  # fp16, not fp32

    @property
    def trips(self) -> list[int]:
        """How often each loop runs, in the order of the code."""
        softmax = [FLOWS - 1] if self.blended else []
        parts = [FLOWS] if self.blended and self.kernel == "backward" else []
        return [*softmax, *parts, CHANNELS, *parts]

    @property
    def accesses(self) -> dict[str, int]:
        """How many accesses of each kind to global memory a thread must make."""
        k, c, pixels = FLOWS if self.blended else 1, CHANNELS, PIXELS_OF_A_THREAD
        backward = self.kernel == "backward"
        fields = 3 * k if self.blended else 2
        compared = c * self.loss
        upstream = c * (not self.loss) if backward else 0  # the gradient of the warped image
        stored = (3 * k if self.blended else 2) if backward else c * (not self.loss)
        wide = "64" if self.half else "128"  # a quad
        found = Counter(
            {
                "LDG.E.U16.CONSTANT" if self.half else "LDG.E.CONSTANT": 4 * pixels * c,
                "LDG.E": self.loss and backward,  # the gradient of the sample's loss
                f"LDG.E.{wide}": fields + compared + upstream,
                f"STG.E.{wide}": stored,
                "RED": 4 * pixels * c * self.image,
            }
        )
        found["STG.E.64"] += self.loss and not backward  # one sum per block
        return {kind: int(count) for kind, count in found.items() if count}


def edits(path: KernelPath) -> Iterator[tuple[str, str, str]]:
    """Yield replacements that decide at compile time: a file of csrc/cuda, a text, the new text."""

    def at_once(file: str, signature: str, result: str) -> tuple[str, str, str]:
        return file, signature, f"{signature} return {result};"

    def word(condition: bool) -> str:
        return "true" if condition else "false"

    element = "Half()" if path.half else "float()"
    for name in ("with_float", "with_image"):
        yield at_once("tensors.h", f"auto {name}(Dtype dtype, F&& f) {{", f"f({element})")
    yield "groups.h", "f(double()", "f(float()"
    for name in ("double", "float"):
        yield "groups.h", f"std::integral_constant<int, kPixels<{name}>>()", QUAD
    fold = "Folded<T> fold(Padding padding, T position, int32_t size) {"
    yield at_once("sample.h", fold, "PaddingRule<Padding::border>::fold(position, size)")
    yield "sample.h", "source.image.dtype == Dtype::u8", "false"
    for name in ("field.h", "blend_cache.h"):
        yield name, "f.blended)", f"{word(path.blended)})"
    yield "forward.cu", "a.target.exists()", word(path.loss)
    yield "forward.cu", "a.warped.exists()", word(not path.loss)
    yield "backward.cu", "a.by_loss != nullptr", word(path.loss)
    yield "backward.cu", "a.by_warped.exists()", word(not path.loss)
    yield "backward.cu", "a.by_target.exists()", "false"
    yield "backward.cu", "a.by_image.exists()", word(path.image)
    yield "backward.cu", "(a.moves ||", "(true ||"
    yield "backward.cu", "!a.moves", "false"
    yield "image_gradient.h", "to.wholes != nullptr", "false"


def specialize(path: KernelPath, folder: Path) -> None:
    """Write the kernels' sources with only one path left in them."""
    shutil.copytree(ROOT / "csrc", folder, dirs_exist_ok=True)
    for file, old, new in edits(path):
        path = folder / "cuda" / file
        text = path.read_text()
        if old not in text:
            raise ValueError(f"csrc/cuda/{file} does not hold {old!r} any more; update edits()")
        path.write_text(text.replace(old, new))


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
    return next(f for f in functions if f"{path.kernel}_kernelIf" in f.partition("\n")[0])


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


def walk(code: Sequence[Instruction], trips: Sequence[int]) -> list[str]:
    """Return the names of the instructions that a thread executes.

    Loops run as often as `trips` says, in the order in which they end. A forward branch is not
    taken, unless it skips the slow path of a division, which is a call.
    """
    index = {it.address: i for i, it in enumerate(code)}
    left: dict[int, int] = {}  # rounds that are left, by the address of the loop's branch
    rounds = iter(trips)
    names, i = [], 0
    while True:
        it = code[i]
        names.append(it.name)
        if it.name == "EXIT" and not it.conditional:
            break
        i += 1
        if it.target is None:
            continue
        if it.target <= it.address:
            if it.address not in left:
                left[it.address] = next(rounds, 0) - 1
            if left[it.address] < 0:
                raise ValueError(f"the kernel has more than {len(trips)} loops; update trips")
            if left[it.address] > 0:
                left[it.address] -= 1
                i = index[it.target]
        elif not it.conditional or _is_slow_path(code[i : index[it.target]]):
            i = index[it.target]
    if next(rounds, None) is not None:
        raise ValueError(f"the kernel has fewer than {len(trips)} loops; update trips")
    return names


def _is_slow_path(code: Sequence[Instruction]) -> bool:
    calls = any(it.name.startswith("CALL") for it in code)
    return calls and not any(it.name.startswith(MEMORY) for it in code)


@functools.cache
def instructions(path: KernelPath) -> int:
    """Return how many instructions a thread executes on a path.

    Raises:
        ValueError: The path does not make the accesses to memory that it must make.
    """
    names = walk(parse(disassemble(path)), path.trips)
    found: dict[str, int] = {}
    for name in names:
        kind = "RED" if name.startswith("RED") else name
        if kind.startswith(MEMORY):
            found[kind] = found.get(kind, 0) + 1
    if found != path.accesses:
        raise ValueError(f"{path} makes the accesses {found}, not {path.accesses}")
    return len(names)


def instructions_of(workload: Workload) -> float:
    """Return the instructions per pixel of all kernels of a workload."""
    blended, loss = workload.op.startswith("blend"), workload.op.endswith("l1")
    paths = [KernelPath("forward", blended, loss)]
    if workload.span != FORWARD:
        paths.append(KernelPath("backward", blended, loss, workload.span == ALL_GRADIENTS))
    return sum(map(instructions, paths)) / PIXELS_OF_A_THREAD


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
