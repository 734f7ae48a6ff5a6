"""The resources that kernels need, read from GPU binaries."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Processor:
    """The resources of one multiprocessor of an architecture (CUDA's programming guide)."""

    threads: int
    shared: int  # bytes
    registers: int = 65536


PROCESSORS = {
    "sm_75": Processor(1024, 64 << 10),
    "sm_80": Processor(2048, 164 << 10),
    "sm_86": Processor(1536, 100 << 10),
    "sm_89": Processor(1536, 100 << 10),
    "sm_90": Processor(2048, 228 << 10),
    "sm_100": Processor(2048, 228 << 10),
    "sm_120": Processor(1536, 100 << 10),
}


# The types of images and fields that common calls have, as the kernels name them.
COMMON_TYPES = [
    ("float", "float"),
    ("float", "Half"),
    ("float", "BFloat16"),
    ("Half", "Half"),
    ("BFloat16", "BFloat16"),
]


def common(image: str, field: str, count: int, compared: bool) -> str:
    """Return the name of what kernels know of common calls: csrc/cuda/facts.h."""
    return f"Common<{image}, {field}, {count}, {str(compared).lower()}>"


COMMON = [
    common(*types, count, compared)
    for types in COMMON_TYPES
    for count in (1, 2)
    for compared in (False, True)
]


@dataclass(frozen=True)
class Resources:
    """What ptxas gave a kernel: registers and stack of a thread, shared memory of a block."""

    registers: int
    stack: int
    shared: int

    def occupancy(self, processor: Processor, block: int) -> float:
        """Return the share of a processor's threads that fit, in blocks of `block` threads."""
        of_warp = -(-self.registers * 32 // 256) * 256  # registers are assigned in units of 256
        blocks = [
            processor.registers // (of_warp * block // 32),
            processor.threads // block,
            processor.shared // (self.shared + 1024),  # of which the system takes 1024 per block
        ]
        return min(blocks) * block / processor.threads


def run(*command: str | Path) -> str:
    """Run a command. Return its output."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def cuobjdump(*directories: Path) -> str | None:
    """Return the path of cuobjdump, which comes with CUDA's toolkit or with Triton."""
    places = [*map(str, directories), os.environ.get("PATH", "")]
    triton = importlib.util.find_spec("triton")
    if triton is not None and triton.origin is not None:
        places.append(str(Path(triton.origin).parent / "backends/nvidia/bin"))
    return shutil.which("cuobjdump", path=os.pathsep.join(places))


def usage(line: str) -> Resources:
    """Parse a line that `cuobjdump -res-usage` prints."""
    has = {name: int(value) for name, value in re.findall(r"(\w+):(\d+)", line)}
    return Resources(has["REG"], has["STACK"] + has["LOCAL"], has["SHARED"])


def instruction(line: str) -> str | None:
    """Return the name of the instruction in a line that `cuobjdump -sass` prints."""
    match = re.match(r"\s+/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]+)", line)
    return match[1] if match else None
