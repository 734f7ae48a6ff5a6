"""The CPU kernels on ARM, emulated: the same bits as here.

That the portable kernels are right here is tested by the case table (`test_cases.py`). ARM's
vectors are what g++ makes of them.
"""

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [ROOT / "tests/ops/other_processor/passes.cpp"]
SOURCES += [ROOT / f"csrc/cpu/{name}.cpp" for name in ("kernels", "forward", "backward")]
# As in CMakeLists.txt, with CMake's optimisation for a release.
FLAGS = ["-std=c++17", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]


def built(compiler, folder):
    program = folder / "passes"
    includes = [f"-I{ROOT / 'csrc/include'}", "-w", "-static"]
    command = [compiler, *FLAGS, *includes, *map(str, SOURCES), "-o", str(program)]
    subprocess.run(command, check=True)
    return program


def printed(*command):
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


def test_arm_has_the_same_bits(tmp_path_factory):
    cross, emulator = shutil.which("aarch64-linux-gnu-g++"), shutil.which("qemu-aarch64")
    here = shutil.which("c++")
    if cross is None or emulator is None or here is None:
        pytest.skip("needs c++, aarch64-linux-gnu-g++ and qemu-aarch64")
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("compares with x86-64")
    ours = printed(built(here, tmp_path_factory.mktemp("here")))
    theirs = printed(emulator, built(cross, tmp_path_factory.mktemp("there")))
    assert ours[0] == "portable"
    assert len(ours) == 1 + 5 * 3 * 3 * 2
    sums = {line.partition(": ")[2] for line in ours[1:]}
    assert len(sums) == 5 * 3 * (2 * 3 - 1)  # one channel has the same memory in both layouts
    assert theirs == ours
