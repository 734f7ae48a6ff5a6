"""Build backend: setuptools, plus the decision which torch the operators are compiled against.

The libraries use LibTorch's stable ABI, so any torch >= 2.10 will do to compile them. Where the
interpreter that is installed to has one, its headers are used, even though build isolation hides
it; only where there is none does the build ask pip for one.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import sys
import sysconfig
from pathlib import Path

import setuptools
from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403

SETUPTOOLS_NEEDED = 77  # the first that reads our pyproject.toml
TORCH_NEEDED = (2, 10)
COMPILERS = ("c++", "g++", "clang++")  # that CMake looks for
TORCH_REQUIREMENT = "torch==2.13.0"


def check_setuptools(version: str = setuptools.__version__) -> None:
    """Stop a build whose setuptools would not understand our pyproject.toml.

    Raises:
        SystemExit: It is too old.
    """
    if int(version.split(".")[0]) < SETUPTOOLS_NEEDED:
        raise SystemExit(
            f"tcae: setuptools >= {SETUPTOOLS_NEEDED} is needed to build, but this is {version}; "
            "`pip install -U setuptools`, or leave out --no-build-isolation"
        )


def check_compiler() -> None:
    """Stop a build that would fail, before pip's log is long.

    Raises:
        SystemExit: There is no C++ compiler. pip shows it as the last line of the build.
    """
    named = os.environ.get("CXX")
    if any(map(shutil.which, shlex.split(named)[:1] if named else COMPILERS)):
        return
    missing = f"CXX={named} is not there" if named else f"there is none of {', '.join(COMPILERS)}"
    raise SystemExit(
        f"tcae: a C++17 compiler is needed to compile the operators, but {missing}; "
        "`apt-get install g++`, or what your system has for it"
    )


def get_requires_for_build_wheel(config_settings=None):
    """Return what a wheel needs to be built: a torch only if there is none to compile against."""
    check_compiler()
    return build_meta.get_requires_for_build_wheel(config_settings) + torch_requirement()


def get_requires_for_build_editable(config_settings=None):
    """Return what an editable install needs to be built."""
    check_compiler()
    return build_meta.get_requires_for_build_editable(config_settings) + torch_requirement()


def torch_requirement() -> list[str]:
    """Return the requirement that provides torch's headers, if the target has none that fit."""
    torch = find_torch(target_directories())
    if torch is not None:
        print(
            f"tcae: compiling against the installed torch {torch_version(torch)}", file=sys.stderr
        )
        return []
    print(
        f"tcae: no torch >= 2.10 here to compile against, asking for {TORCH_REQUIREMENT}",
        file=sys.stderr,
    )
    return [TORCH_REQUIREMENT]


def torch_to_compile_against() -> Path:
    """Find the torch package: the target's, else the one in the build environment."""
    spec = importlib.util.find_spec("torch")
    here = [Path(p).parent for p in (spec.submodule_search_locations or [])] if spec else []
    torch = find_torch(target_directories() + here)
    if torch is None:
        raise SystemExit(
            "tcae: torch >= 2.10 is needed to compile the operators, but there is none"
        )
    return torch


def target_directories() -> list[Path]:
    """Find where the interpreter that is installed to keeps its packages.

    Build isolation hides these from ``sys.path``, but not from sysconfig.
    """
    names = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    if sys.prefix != sys.base_prefix and _sees_system_packages():
        base = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix}
        names += [
            sysconfig.get_path("purelib", vars=base),
            sysconfig.get_path("platlib", vars=base),
        ]
    return [Path(name) for name in dict.fromkeys(names)]


def find_torch(directories: list[Path]) -> Path | None:
    """Find the first torch in these directories that is new enough and has its headers."""
    for torch in (directory / "torch" for directory in directories):
        numbers = torch_version(torch).split(".")[:2]
        has_headers = (torch / "include/torch/csrc/stable/library.h").is_file()
        if has_headers and tuple(map(int, numbers)) >= TORCH_NEEDED:
            return torch
    return None


def torch_version(torch: Path) -> str:
    """Read the version of a torch package without importing it; "" if it is not known."""
    try:
        text = (torch / "version.py").read_text()
    except OSError:
        return ""
    found = re.search(r"""__version__ = ['"](\d+\.\d+[^'"]*)['"]""", text)
    return found[1] if found else ""


def _sees_system_packages() -> bool:
    try:
        text = (Path(sys.prefix) / "pyvenv.cfg").read_text()
    except OSError:
        return False
    return re.search(r"include-system-site-packages\s*=\s*true", text, re.IGNORECASE) is not None


check_setuptools()  # that of --no-build-isolation may be any
