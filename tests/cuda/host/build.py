"""Compile kernels into a module that serve.py runs: the unchanged .cu files, but for a CPU.

The C++ kernels can be compiled in the same way, for comparison and for tests of the tests.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pybind11

HERE = Path(__file__).parent
# The files in csrc/ of each device's kernels, and their additional compiler options.
CPU = ["cpu/kernels.cpp", "cpu/forward.cpp", "cpu/backward.cpp"]
CPU_OPTIONS = ["-fno-math-errno", "-fno-trapping-math"]
DEVICES = {
    "cuda": (["cuda/forward.cu", "cuda/backward.cu"], ["-x", "c++"]),
    "cpu": (CPU, CPU_OPTIONS),
    "avx2": (CPU, [*CPU_OPTIONS, "-mavx2"]),
}
COMMON = ["-std=c++17", "-g1", "-fPIC", "-ffp-contract=off", "-fvisibility=hidden"]
COMMON += ["-Werror=switch"]  # a padding without a case must not compile


@dataclass(frozen=True)
class Flavour:
    """A way to watch the kernels while they run."""

    flags: tuple[str, ...]
    runtime: str | None  # the library that must be loaded before all others
    environment: tuple[tuple[str, str], ...] = ()


FLAVOURS = {
    "plain": Flavour(("-O1",), None),
    "memory": Flavour(
        (
            "-O1",
            "-fno-omit-frame-pointer",
            "-fsanitize=address,undefined,float-cast-overflow",
            "-fno-sanitize-recover=all",
        ),
        "libasan",
        (("ASAN_OPTIONS", "detect_leaks=0"),),  # Python leaks on purpose
    ),
    "races": Flavour(
        ("-O1", "-fno-omit-frame-pointer", "-fsanitize=thread"),
        "libtsan",
        (("TSAN_OPTIONS", "halt_on_error=1"),),
    ),
}


def compiler() -> str | None:
    """Return the C++ compiler that CMake uses."""
    return shutil.which(os.environ.get("CXX", "c++"))


def why_not() -> str | None:
    """Return the reason why kernels cannot be built here, or None if they can."""
    path = compiler()
    if path is None or not sys.platform.startswith("linux"):
        return "this needs Linux and a C++ compiler"
    for flavour in FLAVOURS.values():
        command = [path, *flavour.flags, "-x", "c++", "-", "-o", os.devnull]
        if subprocess.run(
            command, input="int main() {}", text=True, capture_output=True
        ).returncode:
            return f"the compiler cannot {' '.join(flavour.flags)}"
    return None


def build(root: Path, flavour: str, folder: Path, device: str = "cuda") -> Path:
    """Compile a tree's kernels, unless `folder` already contains the result.

    Args:
        root: Contains csrc/.
        flavour: A name in FLAVOURS.
        folder: A cache of objects and modules, by the hash of their sources.
        device: A name in DEVICES.

    Returns:
        The path of the module.

    Raises:
        subprocess.CalledProcessError: The compiler's errors are in `stderr`.
    """
    flags = list(FLAVOURS[flavour].flags)
    sources, more = DEVICES[device]
    include = [root, root / "csrc/include", HERE / "include", pybind11.get_include()]
    include.append(sysconfig.get_path("include"))
    caller = "device_cuda.cpp" if device == "cuda" else "device_cpu.cpp"
    # The last three call sanitizers, but are not watched.
    parts = [(root / "csrc" / source, [*flags, *more]) for source in sources]
    parts += [(HERE / "scheduler.cpp", ["-O2"])]
    parts += [(HERE / source, ["-O0"]) for source in (caller, "module.cpp")]
    objects = [_compile(source, options, include, folder) for source, options in parts]
    module = folder / f"kernels_on_host-{_key(objects, flags)}.so"
    if not module.exists():
        _run([*flags, "-shared", *objects, "-o", module])
    return module


def build_program(source: Path, flavour: str, folder: Path) -> Path:
    """Compile one file with kernels and a main function. See `build`."""
    flags = list(FLAVOURS[flavour].flags)
    program = folder / f"{source.stem}-{flavour}"
    include = [HERE / "include"]
    objects = [
        _compile(source, flags, include, folder),
        _compile(HERE / "scheduler.cpp", ["-O2"], include, folder),
    ]
    _run([*flags, *objects, "-o", program])
    return program


def environment(module: Path, flavour: str) -> dict[str, str]:
    """Return the environment variables that a process needs to load the module."""
    runtime = FLAVOURS[flavour].runtime
    if runtime is None:
        return {}
    # Also the C++ library, which sanitizers look for when they start.
    listed = subprocess.run(["ldd", module], capture_output=True, text=True, check=True).stdout
    needs = dict(re.findall(r"(lib\w+(?:\+\+)?)\.so\S* => (/\S+)", listed))
    return {
        "LD_PRELOAD": f"{needs[runtime]} {needs['libstdc++']}",
        **dict(FLAVOURS[flavour].environment),
    }


def _compile(source: Path, options: list[str], include: list[Path], folder: Path) -> Path:
    command = [*COMMON, *options, *[f"-I{path}" for path in include]]
    text = _run([*command, "-E", "-P", source])
    target = folder / f"{source.stem}-{_key(compiler(), COMMON, options, text)}.o"
    if not target.exists():
        unfinished = target.with_suffix(".unfinished")
        _run([*command, "-c", source, "-o", unfinished])
        unfinished.rename(target)
    return target


def _key(*things: object) -> str:
    return hashlib.sha256(repr(things).encode()).hexdigest()[:16]


def _run(arguments: list[str | Path]) -> str:
    command = [str(compiler()), *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
