"""`tcae_ops` alone: a project elsewhere installs its wheel beside torch and nothing else."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from tcae_ops import library

ROOT = Path(__file__).parents[2]
PROJECT = Path(__file__).with_name("elsewhere")
pytestmark = pytest.mark.usefixtures("cpp")

# CMake's part is to compile: here it installs the library in use. CI's `pip install .` compiles.
CMAKE = """#!/bin/sh
for word; do
  case "$word" in -DCMAKE_INSTALL_PREFIX=*) cp '{library}' "${{word#*=}}" ;; esac
done
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of `pip wheel ./ops`."""
    folder = tmp_path_factory.mktemp("wheel")
    (folder / "cmake").write_text(CMAKE.format(library=library.CPU.path))
    (folder / "cmake").chmod(0o755)
    tree = folder / "tree"  # the build writes beside the sources
    names = ["ops", "tcae_ops", "csrc", "CMakeLists.txt", "LICENSE"]
    for name in names:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tree / name, **({"symlinks": True} if copy is shutil.copytree else {}))
    environment = {"PATH": f"{folder}:/usr/bin:/bin", "TCAE_OPS_CUDA": "OFF", "CXX": "true"}
    options = ["--no-build-isolation", "--no-deps", "--no-index", "--wheel-dir", folder]
    command = [sys.executable, "-m", "pip", "wheel", "-q", *options, tree / "ops"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


def requirements(name):
    """The names of the distributions that one needs and that are installed, with its own."""
    found, waiting = {}, [name]
    while waiting:
        try:
            distribution = importlib.metadata.distribution(waiting.pop())
        except importlib.metadata.PackageNotFoundError:
            continue  # for another platform
        if distribution.name not in found:
            found[distribution.name] = distribution
            needed = [r for r in distribution.requires or [] if "extra ==" not in r]
            waiting += [re.match(r"[\w.-]+", r)[0] for r in needed]
    return found.values()


@pytest.fixture(scope="module")
def elsewhere(wheel, tmp_path_factory):
    """Function that runs Python in an environment with torch and `tcae_ops` alone."""
    folder = tmp_path_factory.mktemp("elsewhere")
    venv.create(folder / "environment")
    python = folder / "environment/bin/python"
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(subprocess.check_output([python, "-c", ask], text=True).strip())
    for distribution in requirements("torch"):
        for name in {file.parts[0] for file in distribution.files} - {"..", "__pycache__"}:
            if not (packages / name).exists():
                (packages / name).symlink_to(distribution.locate_file(name))
    # Without an index pip fails if anything beside torch is needed.
    install = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-index"]
    subprocess.run([*install, wheel], check=True)
    shutil.copytree(PROJECT, folder / "project")

    def run(*words):
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        return subprocess.run(
            [*words], cwd=folder / "project", env=environment, capture_output=True, text=True
        )

    return python, run


def test_torch_is_its_only_requirement(wheel):
    with zipfile.ZipFile(wheel) as content:
        names = content.namelist()
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        fields = Parser().parsestr(content.read(metadata).decode())
    assert fields.get_all("Requires-Dist") == ["torch>=2.10"]
    assert fields["Version"] == library.VERSION
    folders = {name.split("/")[0] for name in names}
    assert {name for name in folders if not name.endswith(".dist-info")} == {"tcae_ops"}
    assert "tcae_ops/py.typed" in names and "tcae_ops/libtcae_ops_cpu.so" in names


def test_a_project_elsewhere_compiles_exports_and_maps(elsewhere):
    python, run = elsewhere
    done = run(python, "stabilise.py")
    assert done.stdout == "fine\n", done.stderr
    assert run(python, "-c", "import tcae").returncode


def test_a_project_elsewhere_passes_strict_types(elsewhere):
    pytest.importorskip("mypy", reason="mypy is not installed; `pip install '.[dev]'` brings it")
    python, run = elsewhere
    flags = ["--strict", "--follow-imports=silent", "--config-file=", "--python-executable", python]
    done = run(sys.executable, "-m", "mypy", *flags, "stabilise.py")
    assert done.stdout.startswith("Success"), done.stdout + done.stderr
