"""A padding that is not handled everywhere is refused by name, or does not compile."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from tcae_ops import reference
from tcae_ops.request import PADDINGS, Request
from tcae_ops.selftest.cases import CASES

ROOT = Path(__file__).parents[2]
IMAGE, FLOW = torch.rand(1, 1, 4, 5), torch.zeros(1, 2, 4, 5)


def test_the_case_table_has_every_padding():
    assert {case.padding for case in CASES.values()} == set(PADDINGS)


def test_the_definition_refuses_an_unknown_padding():
    with pytest.raises(ValueError, match="padding is 'wrap', which the definition does not know"):
        reference.run(Request(IMAGE, [FLOW], [], [], "pixels", "wrap", True))


def test_the_loops_that_check_the_definition_refuse_it_too(truth):
    with pytest.raises(ValueError, match="the loops do not know padding 'wrap'"):
        truth(IMAGE, [FLOW], [], IMAGE, "pixels", "wrap")


def test_the_library_refuses_it(cpp):
    ops, said = torch.ops.tcae_ops, "padding must be border, zeros or reflection, but is wrap"
    inputs = [IMAGE, FLOW]
    with pytest.raises(RuntimeError, match=said):
        ops.forward(inputs, 1, 0, "pixels", "wrap", True)
    with pytest.raises(RuntimeError, match=said):
        ops.warp_forward(*inputs, "pixels", "wrap")
    with pytest.raises(RuntimeError, match=said):
        ops.warp_backward(IMAGE, *inputs, "pixels", "wrap", True, True)
    with pytest.raises(RuntimeError, match=said):
        ops.backward([IMAGE], False, inputs, 1, 0, "pixels", "wrap", [1])


ENUMERATOR = "border, zeros, reflection }", "border, zeros, reflection, wrap }"
CASE = (
    "  switch (padding) {\n",
    ("  switch (padding) {\n    case Padding::wrap: return f(PaddingRule<Padding::wrap>());\n"),
)


@pytest.fixture
def compile_with(tmp_path):
    """Function that compiles a file of the kernels after changes of padding.h; its errors."""
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    source = tmp_path / "csrc"
    shutil.copytree(ROOT / "csrc", source)
    header = source / "include/tcae_ops/padding.h"
    flags = re.search(r"set\(options (.*)\)", (ROOT / "CMakeLists.txt").read_text())[1].split()
    include = [f"-I{source}/include", f"-I{ROOT}/tests/cuda/host/include"]

    def compile_(file, *changes):
        text = (ROOT / "csrc/include/tcae_ops/padding.h").read_text()
        for old, new in changes:
            assert text.count(old) == 1
            text = text.replace(old, new)
        header.write_text(text)
        command = [compiler, "-std=c++17", "-fsyntax-only", *flags, *include, "-x", "c++"]
        return subprocess.run([*command, source / file], capture_output=True, text=True).stderr

    return compile_


FILES = ["cpu/forward.cpp", "cpu/backward.cpp", "cuda/forward.cu", "cuda/backward.cu"]


@pytest.mark.parametrize("file", FILES)
def test_kernels_do_not_compile_with_a_padding_that_is_not_handled(compile_with, file):
    assert "error" not in compile_with(file)
    assert re.search(r"error: .*wrap.* not handled in switch", compile_with(file, ENUMERATOR))
    without_rule = compile_with(file, ENUMERATOR, CASE)
    assert re.search(r"error: .*incomplete type .*PaddingRule<.*wrap>", without_rule)


def test_nvcc_is_told_the_same():
    cuda = (ROOT / "CMakeLists.txt").read_text().partition("COMPILE_LANGUAGE:CUDA")[2]
    assert "-Xcompiler=-Werror=switch" in cuda.partition(">)")[0]
