"""What `tcae` needs to run. pyproject.toml has the rest.

Environment:
    TCAE_OPS_FROM: "tree" makes pip build the operators from ops/ beside this file, "anywhere" lets
        it find their version as it finds every other requirement: for wheels that go elsewhere.
"""

from __future__ import annotations

import os
import runpy
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).resolve().parent
VERSION = runpy.run_path(str(ROOT / "tcae_ops/version.py"))["VERSION"]
REQUIREMENTS = [
    "numba>=0.61",
    "numpy>=1.26",
    "av>=17.1",  # before 17 BT.709 gets the colours of BT.601, and 17.0 crashes
    "docstring-parser>=0.15",
    "opencv-python-headless>=4.13",  # before, WebP is not turned as its EXIF data say
    "pillow>=10.1",  # its own font draws letters of any size
    "pyyaml>=6",
    "safetensors>=0.4",
    "tensorboard>=2.16",
    "torch>=2.10",
    "tqdm>=4.66",
    "tyro>=0.9",
]


def operators() -> str:
    """Return the requirement that brings `tcae_ops`."""
    choice = os.environ.get("TCAE_OPS_FROM", "tree")
    if choice not in ("tree", "anywhere"):
        raise SystemExit(f"TCAE_OPS_FROM is {choice!r}, but must be tree or anywhere")
    if choice == "anywhere":
        return f"tcae_ops=={VERSION}"
    return f"tcae_ops @ {(ROOT / 'ops').as_uri()}"


setup(version=VERSION, install_requires=[operators(), *REQUIREMENTS])
