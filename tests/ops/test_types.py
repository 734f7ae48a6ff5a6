"""The package is typed: a program that uses it passes ``mypy --strict``, a wrong one does not."""

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tcae_ops

PACKAGE = Path(tcae_ops.__file__).parent
PROGRAM = """
from torch import Tensor
import torch

import tcae_ops
from tcae_ops import Backend, Padding, Units


def reconstruct(image: Tensor, flows: list[Tensor], logits: list[Tensor]) -> Tensor:
    units: Units = "normalized"
    padding: Padding = "zeros"
    loss, warped = tcae_ops.blend_warp_l1(
        image, flows, logits, image, units=units, padding=padding, return_warped=True
    )
    return loss.mean() + tcae_ops.warp_l1(warped, flows[0], image).sum()


chosen: Backend = "reference"
version: str = tcae_ops.__version__
with tcae_ops.backend(chosen):
    image, flow, logit = torch.rand(1, 3, 8, 8), torch.zeros(1, 2, 8, 8), torch.zeros(1, 8, 8)
    print(version, reconstruct(tcae_ops.warp(image, flow, padding="border"), [flow], [logit]))
"""


WRONG = [
    ('padding="border"', 'padding="wrap"'),
    ('units: Units = "normalized"', 'units: Units = "metres"'),
    ('chosen: Backend = "reference"', 'chosen: Backend = "fpga"'),
]


@pytest.fixture(scope="module")
def mypy(tmp_path_factory):
    """Function that gives what ``mypy --strict`` says about a program."""
    pytest.importorskip("mypy", reason="mypy is not installed; `pip install '.[dev]'` brings it")
    folder = tmp_path_factory.mktemp("mypy")
    # An installed package is found, and mypy refuses to be shown it; a source tree is not found.
    installed = PACKAGE.parent.name == "site-packages"
    environment = {**os.environ, "MYPYPATH": "" if installed else str(PACKAGE.parent)}

    def run(program):
        (folder / "program.py").write_text(program)
        flags = ["--strict", "--follow-imports=silent", "--config-file="]
        command = [sys.executable, "-m", "mypy", *flags, "program.py"]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        return done.stdout + done.stderr

    return run


def test_a_typed_program_passes(mypy):
    assert mypy(PROGRAM).startswith("Success")


def test_each_mistake_of_a_mistyped_program_is_found(mypy):
    program, lines = PROGRAM, []
    for right, wrong in WRONG:
        assert PROGRAM.count(right) == 1
        program = program.replace(right, wrong)
        lines.append(program[: program.index(wrong)].count("\n") + 1)
    found = mypy(program)
    assert [line for line in lines if f"program.py:{line}: error" not in found] == []


def test_the_marker_of_typed_packages_is_shipped():
    """Installed or in the source tree; tests/test_packaging.py builds what is installed."""
    assert (PACKAGE / "py.typed").is_file()


def test_the_version_is_that_of_the_package():
    assert tcae_ops.__version__ == importlib.metadata.version("tcae")
