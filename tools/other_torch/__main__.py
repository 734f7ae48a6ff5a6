"""Build the operators against another torch, and run each build with the other's torch.

python tools/other_torch 2.10.0

Installs that torch into an environment of its own (7 GB of disk if it comes with CUDA), and builds
a wheel there. Runs the self-test three times: this wheel with its torch, this wheel with the torch
of this environment, and the libraries of this environment with the other torch.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD_TOOLS = ["numpy", "setuptools>=77", "wheel", "cmake>=3.22", "ninja"]


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="tools/other_torch", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("version", help="of torch, such as 2.10.0")
    version = parser.parse_args(argv).version
    with tempfile.TemporaryDirectory() as folder:
        other = install(version, Path(folder) / "environment")
        built = build(other, Path(folder) / "wheels")
        runs = [(other, built), (sys.executable, built), (other, installed(Path(folder) / "here"))]
        failed = [self_test(*run) for run in runs].count(False)
    print(f"{len(runs) - failed} of {len(runs)} runs passed")
    return 1 if failed else 0


def install(version: str, folder: Path) -> str:
    """Make an environment with this torch and what a build needs, and return its Python."""
    venv.create(folder, with_pip=True)
    python = str(folder / "bin/python")
    pip = [python, "-m", "pip", "install", "--quiet", "--no-cache-dir"]
    subprocess.run([*pip, f"torch=={version}", *BUILD_TOOLS], check=True)
    return python


def build(python: str, folder: Path) -> Path:
    """Build a wheel with the torch of an environment, and return the folder with its packages."""
    wheel = ["wheel", "--quiet", "--no-build-isolation", "--no-deps", "--wheel-dir", str(folder)]
    environment = {**os.environ, "TCAE_OPS_CUDA": "OFF"}
    subprocess.run([python, "-m", "pip", *wheel, str(ROOT / "ops")], check=True, env=environment)
    (file,) = folder.glob("*.whl")
    with zipfile.ZipFile(file) as content:
        content.extractall(folder / "packages")
    return folder / "packages"


def installed(folder: Path) -> Path:
    """Return a folder with nothing but the operators of this environment."""
    import tcae_ops

    folder.mkdir()
    (folder / "tcae_ops").symlink_to(Path(tcae_ops.__file__).parent)
    return folder


def self_test(python: str, packages: Path) -> bool:
    """Run the self-test of the operators in a folder, and return whether it passed."""
    versions = "import torch; from tcae_ops import library; "
    versions += (
        "print('torch', torch.__version__, 'runs what', library.CPU.build['torch'], 'built')"
    )
    test = ["-m", "tcae_ops.selftest", "--quick", "--out", os.devnull]
    environment = {**os.environ, "PYTHONPATH": str(packages)}
    steps = (["-c", versions], test)
    return all(
        subprocess.run([python, *step], env=environment, cwd=packages).returncode == 0
        for step in steps
    )


if __name__ == "__main__":
    sys.exit(main())
