"""Instructions that the CUDA kernels take, counted in what nvcc makes of them.

A kernel chooses between types, layouts and paddings when it runs. Here the choices of the common
case are made for the compiler beforehand, in a copy of the sources, so that one way through the
code is left; what the choices themselves cost is not counted. That the way is the right one shows
in its accesses to memory, which are known.
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
MEMORY = ("LDG", "STG", "RED", "ATOM")  # what instructions that access global memory begin with


@dataclass(frozen=True)
class Way:
    """A kernel, and what its common case is: one type, contiguous, padding "border"."""

    kernel: str  # "forward" or "backward"
    blended: bool
    loss: bool
    image: bool = False  # whether the image's gradient is wanted
    half: bool = False  # of fp16, not of fp32

    @property
    def trips(self) -> list[int]:
        """How often each loop is run through, in the order of the code."""
        softmax = [FLOWS - 1] if self.blended else []
        parts = [FLOWS] if self.blended and self.kernel == "backward" else []
        return [*softmax, *parts, CHANNELS, *parts]

    @property
    def accesses(self) -> dict[str, int]:
        """How many accesses to global memory a thread makes, by kind: what the way must hold."""
        k, c, pixels = FLOWS if self.blended else 1, CHANNELS, PIXELS_OF_A_THREAD
        backward = self.kernel == "backward"
        fields = 3 * k if self.blended else 2
        compared = c * self.loss
        given = c * (not self.loss) if backward else 0  # the gradient of the warped image
        stored = (3 * k if self.blended else 2) if backward else c * (not self.loss)
        wide = "64" if self.half else "128"  # a quad
        found = Counter(
            {
                "LDG.E.U16.CONSTANT" if self.half else "LDG.E.CONSTANT": 4 * pixels * c,
                "LDG.E": self.loss and backward,  # the gradient of the sample's loss
                f"LDG.E.{wide}": fields + compared + given,
                f"STG.E.{wide}": stored,
                "RED": 4 * pixels * c * self.image,
            }
        )
        found["STG.E.64"] += self.loss and not backward  # one sum of each block
        return {kind: int(count) for kind, count in found.items() if count}


def edits(way: Way) -> Iterator[tuple[str, str, str]]:
    """What is decided beforehand: a file of csrc/cuda, a text in it, and the text instead."""

    def at_once(file: str, signature: str, result: str) -> tuple[str, str, str]:
        return file, signature, f"{signature} return {result};"

    def word(condition: bool) -> str:
        return "true" if condition else "false"

    element = "Half()" if way.half else "float()"
    for name in ("with_float", "with_image"):
        yield at_once("tensors.h", f"auto {name}(Dtype dtype, F&& f) {{", f"f({element})")
    yield "groups.h", "f(double()", "f(float()"
    for name in ("double", "float"):
        yield "groups.h", f"std::integral_constant<int, kPixels<{name}>>()", QUAD
    fold = "Folded<T> fold(Padding padding, T position, int32_t size) {"
    yield at_once("sample.h", fold, "PaddingRule<Padding::border>::fold(position, size)")
    yield "sample.h", "source.image.dtype == Dtype::u8", "false"
    for name in ("field.h", "blend_cache.h"):
        yield name, "f.blended)", f"{word(way.blended)})"
    yield "forward.cu", "a.target.exists()", word(way.loss)
    yield "forward.cu", "a.warped.exists()", word(not way.loss)
    yield "backward.cu", "a.by_loss != nullptr", word(way.loss)
    yield "backward.cu", "a.by_warped.exists()", word(not way.loss)
    yield "backward.cu", "a.by_target.exists()", "false"
    yield "backward.cu", "a.by_image.exists()", word(way.image)
    yield "backward.cu", "(a.moves ||", "(true ||"
    yield "backward.cu", "!a.moves", "false"
    yield "image_gradient.h", "to.wholes != nullptr", "false"


def specialise(way: Way, folder: Path) -> None:
    """Writes the kernels' sources with one way left in them."""
    shutil.copytree(ROOT / "csrc", folder, dirs_exist_ok=True)
    for file, old, new in edits(way):
        path = folder / "cuda" / file
        text = path.read_text()
        if old not in text:
            raise ValueError(f"csrc/cuda/{file} does not hold {old!r} any more; adapt edits()")
        path.write_text(text.replace(old, new))


def disassemble(way: Way) -> str:
    """The instructions of a kernel's way, as cuobjdump prints them."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "csrc"
        specialise(way, source)
        flags = ["-std=c++17", "--expt-relaxed-constexpr", "-fmad=false"]  # as in CMakeLists.txt
        flags += [f"-arch={ARCHITECTURE}", f"-I{source}/include", "-cubin"]
        binary = Path(folder) / "kernels.cubin"
        _run(_nvcc(), *flags, str(source / f"cuda/{way.kernel}.cu"), "-o", str(binary))
        text = _run(_cuobjdump(), "-sass", str(binary))
    functions = re.split(r"\n\s+Function : ", text)
    return next(f for f in functions if f"{way.kernel}_kernelIf" in f.partition("\n")[0])


@dataclass(frozen=True)
class Instruction:
    """One line of a listing."""

    address: int
    conditional: bool
    name: str
    target: int | None  # of a branch


def parse(listing: str) -> list[Instruction]:
    """The instructions of one function."""
    pattern = r"/\*([0-9a-f]{4,})\*/\s+(@!?U?P\w+ +)?([A-Z][\w.]+)([^;]*);"
    found = []
    for address, predicate, name, operands in re.findall(pattern, listing):
        target = re.search(r"0x([0-9a-f]+)\s*$", operands) if name.startswith("BRA") else None
        where = int(target[1], 16) if target else None
        found.append(Instruction(int(address, 16), bool(predicate), name, where))
    return found


def walk(code: Sequence[Instruction], trips: Sequence[int]) -> list[str]:
    """The instructions that a thread executes, by name.

    Loops are run through as often as said, in the order in which they end. A branch forward is not
    taken, unless what it leaps over is the slow way of a division, which is a call.
    """
    index = {it.address: i for i, it in enumerate(code)}
    left: dict[int, int] = {}  # further rounds of the loops met so far
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
                raise ValueError(f"the kernel has more than {len(trips)} loops; adapt Way.trips")
            if left[it.address] > 0:
                left[it.address] -= 1
                i = index[it.target]
        elif not it.conditional or _is_slow_way(code[i : index[it.target]]):
            i = index[it.target]
    if next(rounds, None) is not None:
        raise ValueError(f"the kernel has fewer than {len(trips)} loops; adapt Way.trips")
    return names


def _is_slow_way(code: Sequence[Instruction]) -> bool:
    calls = any(it.name.startswith("CALL") for it in code)
    return calls and not any(it.name.startswith(MEMORY) for it in code)


@functools.cache
def instructions(way: Way) -> int:
    """How many instructions a thread executes on its way.

    Raises:
        ValueError: The way does not make the accesses to memory that it must make.
    """
    names = walk(parse(disassemble(way)), way.trips)
    found: dict[str, int] = {}
    for name in names:
        kind = "RED" if name.startswith("RED") else name
        if kind.startswith(MEMORY):
            found[kind] = found.get(kind, 0) + 1
    if found != way.accesses:
        raise ValueError(f"{way} makes the accesses {found}, not {way.accesses}")
    return len(names)


def instructions_of(workload: Workload) -> float:
    """Instructions for each pixel of all kernels of a workload."""
    blended, loss = workload.op.startswith("blend"), workload.op.endswith("l1")
    ways = [Way("forward", blended, loss)]
    if workload.span != FORWARD:
        ways.append(Way("backward", blended, loss, workload.span == ALL_GRADIENTS))
    return sum(map(instructions, ways)) / PIXELS_OF_A_THREAD


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
    """Such as 13.0: what counts of instructions depend on."""
    match = re.search(r"release (\d+\.\d+)", _run(_nvcc(), "--version"))
    return match[1] if match else "unknown"
