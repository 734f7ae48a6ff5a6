"""Builds both packages from a copy of the checkout, so that nothing in it changes.

usage: python build.py OUT
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = (".*", "build", "dist", "runs", "__pycache__", "*.egg-info", "*.so")
# The libraries in use must be those that were built now.
SHOW = """
import sys
from tcae_ops.library import CPU, CUDA
here = [it for it in (CPU, CUDA) if it.path is not None]  # one that is installed may be seen, too
built = [it for it in here if str(it.path).startswith(sys.argv[1])]
assert built, here
print("built for", " and ".join(f"{it.device} ({it.problem or 'usable'})" for it in built))
"""


def main() -> None:
    """Copy, install into OUT/packages without a network, and show what was built."""
    out = Path(sys.argv[1])
    source = out / "source"
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(ROOT, source, symlinks=True, ignore=shutil.ignore_patterns(*LEFT_OUT))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pip += ["--no-build-isolation", "--no-deps", "--upgrade", "--target", str(out / "packages")]
    subprocess.run([*pip, str(source / "ops"), str(source)], check=True)
    subprocess.run([sys.executable, "-m", "tcae_ops"], check=True)
    subprocess.run([sys.executable, "-c", SHOW, str(out / "packages")], check=True)


if __name__ == "__main__":
    main()
