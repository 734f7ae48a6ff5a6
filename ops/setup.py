"""Compile the operator libraries with CMake and put them beside the package's modules.

Environment:
    TCAE_OPS_CUDA: AUTO (default) builds the CUDA library if nvcc is found and goes on without it if
        that fails; ON makes a failure an error; OFF does not try.
    MAX_JOBS, CMAKE_BUILD_PARALLEL_LEVEL: How many compilers run at once, the first that is set.
        By default as many as there are processors that this process may use.
    CXX: The C++ compiler, by default the one that CMake finds.
    TCAE_OPS_CUDA_ARCHITECTURES: CMake's list of architectures. By default all of ARCHITECTURES that
        nvcc knows, and PTX of the last one for what comes later.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

sys.path.insert(0, str(Path(__file__).parent))
from build_backend import check_compiler, torch_to_compile_against, torch_version

ROOT = Path(__file__).resolve().parent
ARCHITECTURES = [75, 80, 86, 89, 90, 100, 110, 120]


class build_libraries(build_ext):
    """Run CMake for each library and write down what was built."""

    def run(self) -> None:
        """Build the libraries into the package, or into the source tree of an editable install."""
        check_compiler()
        inplace = self.inplace or self.editable_mode
        package = (ROOT if inplace else Path(self.build_lib).resolve()) / "tcae_ops"
        package.mkdir(parents=True, exist_ok=True)
        for stale in package.glob("libtcae_ops_*"):
            stale.unlink()
        self.torch = torch_to_compile_against()
        self.cmake("cpu", package)
        report = {
            "version": self.distribution.get_version(),
            "torch": torch_version(self.torch),
            "cuda": self.build_cuda(package),
        }
        (package / "build.json").write_text(json.dumps(report, indent=2) + "\n")
        print(f"tcae_ops: {json.dumps(report)}", file=sys.stderr)

    def build_cuda(self, package: Path) -> dict[str, str]:
        """Build the CUDA library or say why not."""
        choice = os.environ.get("TCAE_OPS_CUDA", "AUTO").upper()
        if choice not in ("AUTO", "ON", "OFF"):
            raise SystemExit(f"TCAE_OPS_CUDA is {choice!r}, but must be AUTO, ON or OFF")
        if choice == "OFF":
            return {"skipped": "TCAE_OPS_CUDA=OFF"}
        nvcc = os.environ.get("CUDACXX") or shutil.which("nvcc") or _nvcc_of_cuda_home()
        if nvcc is None:
            if choice == "ON":
                raise SystemExit("TCAE_OPS_CUDA=ON, but nvcc is not on PATH nor under CUDA_HOME")
            return {"skipped": "nvcc was not found"}
        try:
            architectures = os.environ.get("TCAE_OPS_CUDA_ARCHITECTURES") or _architectures(nvcc)
            self.cmake(
                "cuda", package, CMAKE_CUDA_COMPILER=nvcc, CMAKE_CUDA_ARCHITECTURES=architectures
            )
        except subprocess.CalledProcessError:
            if choice == "ON":
                raise
            return {"skipped": f"{nvcc} could not compile it; TCAE_OPS_CUDA=ON makes this an error"}
        return {"architectures": architectures}

    def cmake(self, device: str, package: Path, **options: str) -> None:
        """Configure, build and install one library."""
        build = Path(self.build_temp).resolve() / device
        build.mkdir(parents=True, exist_ok=True)
        ninja = shutil.which("ninja")
        options |= {
            "TCAE_OPS_DEVICE": device,
            "TCAE_OPS_TORCH": str(self.torch),
            "CMAKE_INSTALL_PREFIX": str(package),
        }
        if ninja:  # CMake would remember the one of an earlier build environment
            options["CMAKE_MAKE_PROGRAM"] = ninja
        definitions = [f"-D{name}={value}" for name, value in options.items()]
        generator = ["-G", "Ninja"] if ninja else []
        subprocess.run(["cmake", "-S", ROOT, "-B", build, *generator, *definitions], check=True)
        jobs = ["--parallel", str(_jobs())]
        subprocess.run(["cmake", "--build", build, *jobs, "--target", "install"], check=True)


class any_python_wheel(bdist_wheel):
    """A wheel for every Python: the libraries know nothing of its version."""

    def get_tag(self) -> tuple[str, str, str]:
        """Return Python and ABI tags that promise nothing, and the platform."""
        return "py3", "none", super().get_tag()[2]


def _jobs() -> int:
    for name in ("MAX_JOBS", "CMAKE_BUILD_PARALLEL_LEVEL"):
        value = os.environ.get(name)
        if value and not (value.isdecimal() and int(value)):
            raise SystemExit(f"{name} is {value!r}, but must be a number of compilers, from 1")
        if value:
            return int(value)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _nvcc_of_cuda_home() -> str | None:
    home = os.environ.get("CUDA_HOME") or "/usr/local/cuda"
    return shutil.which("nvcc", path=str(Path(home) / "bin"))


def _architectures(nvcc: str) -> str:
    listing = subprocess.run(
        [nvcc, "--list-gpu-arch"], capture_output=True, text=True, check=True
    ).stdout.split()
    known = [it for it in ARCHITECTURES if f"compute_{it}" in listing]
    return ";".join([f"{it}-real" for it in known[:-1]] + [str(it) for it in known[-1:]])


setup(
    ext_modules=[Extension("tcae_ops.libraries", sources=[])],
    cmdclass={"build_ext": build_libraries, "bdist_wheel": any_python_wheel},
)
