"""The build: which torch it compiles against, what it produces, and how it reports that."""

import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tcae_ops import library

ROOT = Path(__file__).parents[2]


@pytest.fixture
def build_backend():
    spec = importlib.util.spec_from_file_location("build_backend", ROOT / "ops/build_backend.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def install_torch(directory, version, headers=True):
    (directory / "torch").mkdir(parents=True)
    (directory / "torch/version.py").write_text(f"__version__ = '{version}'\ndebug = False\n")
    if headers:
        header = directory / "torch/include/torch/csrc/stable/library.h"
        header.parent.mkdir(parents=True)
        header.touch()


@pytest.mark.parametrize(
    ("version", "headers", "asks"),
    [
        ("2.10.0", True, False),
        ("2.13.0+cpu", True, False),
        ("3.0.0a0+git1", True, False),
        ("2.9.1", True, True),
        ("2.13.0", False, True),
        (None, False, True),
    ],
)
@pytest.mark.parametrize("hook", ["wheel", "editable"])
def test_asks_for_a_torch_only_where_there_is_none(
    build_backend, monkeypatch, tmp_path, version, headers, asks, hook
):
    if version is not None:
        install_torch(tmp_path, version, headers)
    monkeypatch.setattr(build_backend, "target_directories", lambda: [tmp_path])
    monkeypatch.setattr(
        build_backend.build_meta, f"get_requires_for_build_{hook}", lambda _: ["wheel"]
    )
    requirements = getattr(build_backend, f"get_requires_for_build_{hook}")()
    assert requirements == ["wheel"] + ["torch==2.13.0"] * asks


def test_the_target_is_seen_through_build_isolation(build_backend, monkeypatch, tmp_path):
    paths = {"purelib": str(tmp_path / "pure"), "platlib": str(tmp_path / "plat")}
    monkeypatch.setattr(build_backend.sysconfig, "get_path", lambda name, vars=None: paths[name])
    monkeypatch.setattr(build_backend.importlib.util, "find_spec", lambda name: None)
    install_torch(tmp_path / "plat", "2.12.1")
    assert build_backend.torch_to_compile_against() == tmp_path / "plat/torch"
    shutil.rmtree(tmp_path / "plat")
    with pytest.raises(SystemExit, match=r"torch >= 2.10 is needed"):
        build_backend.torch_to_compile_against()


def test_pinned_torch_is_the_one_of_the_requirements(build_backend):
    requirements = ROOT / "requirements.txt"
    if not requirements.is_file():
        pytest.skip("requirements.txt is not there")
    assert build_backend.TORCH_REQUIREMENT in requirements.read_text().split()


@pytest.fixture
def build(tmp_path):
    """Function that runs setup.py with a CMake and an nvcc that only record their arguments."""
    tools = tmp_path / "bin"
    tools.mkdir()
    asked = tmp_path / "asked"
    for name, script in {
        "cmake": f'echo "$@" >> {asked}',
        "nvcc": "echo compute_75 compute_80 compute_90 compute_91",
    }.items():
        (tools / name).write_text(f"#!/bin/sh\n{script}\n")
        (tools / name).chmod(0o755)

    def run(fails=False, **environment):
        asked.unlink(missing_ok=True)
        folders = ["--build-lib", tmp_path / "lib", "--build-temp", tmp_path / "temp"]
        done = subprocess.run(
            [sys.executable, "setup.py", "build_ext", *folders],
            cwd=ROOT / "ops",
            env={"PATH": f"{tools}:/bin:/usr/bin", "CUDACXX": str(tools / "nvcc"), **environment},
            capture_output=True,
            text=True,
        )
        if fails:
            assert done.returncode
            return done.stderr.splitlines()[-1]
        assert done.returncode == 0, done.stderr
        built = json.loads((tmp_path / "lib/tcae_ops/build.json").read_text())
        return built["cuda"], asked.read_text().split()

    return run


def test_architectures_are_those_that_nvcc_knows_or_that_are_asked_for(build):
    report, asked = build()
    assert report == {"architectures": "75-real;80-real;90"}  # PTX of the last
    assert "-DCMAKE_CUDA_ARCHITECTURES=75-real;80-real;90" in asked
    report, asked = build(TCAE_OPS_CUDA_ARCHITECTURES="86-real")
    assert report == {"architectures": "86-real"}
    assert "-DCMAKE_CUDA_ARCHITECTURES=86-real" in asked


def test_as_many_compilers_run_at_once_as_are_allowed(build):
    def jobs(**environment):
        _, asked = build(TCAE_OPS_CUDA="OFF", **environment)
        return asked[asked.index("--parallel") + 1]

    assert jobs(MAX_JOBS="1", CMAKE_BUILD_PARALLEL_LEVEL="3") == "1"
    assert jobs(CMAKE_BUILD_PARALLEL_LEVEL="3") == "3"
    assert jobs() == str(len(os.sched_getaffinity(0)))
    assert "MAX_JOBS is 'many'" in build(fails=True, TCAE_OPS_CUDA="OFF", MAX_JOBS="many")


def test_without_a_compiler_the_last_line_says_so(build, build_backend, monkeypatch):
    line = build(fails=True, TCAE_OPS_CUDA="OFF", CXX="no-such-compiler -O2")
    assert line.startswith("tcae: a C++17 compiler is needed")
    assert "CXX=no-such-compiler -O2 is not there" in line
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(SystemExit, match=r"there is none of c\+\+, g\+\+, clang\+\+; `apt-get"):
        build_backend.get_requires_for_build_wheel()


def test_an_old_setuptools_is_refused_with_what_to_do(build_backend):
    build_backend.check_setuptools("77.0.1")
    with pytest.raises(
        SystemExit, match=r"setuptools >= 77 is needed to build, but this is 68\.2\.2;"
    ):
        build_backend.check_setuptools("68.2.2")


def test_the_cuda_library_can_be_left_out(build):
    report, asked = build(TCAE_OPS_CUDA="OFF")
    assert report == {"skipped": "TCAE_OPS_CUDA=OFF"}
    assert "-DTCAE_OPS_DEVICE=cpu" in asked and "-DTCAE_OPS_DEVICE=cuda" not in asked


def test_module_prints_what_was_built_and_what_is_usable(cpp):
    done = subprocess.run(
        [sys.executable, "-m", "tcae_ops"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert f"library for cpu: {library.CPU.path}" in done.stdout
    assert re.search(r"cpp +usable", done.stdout)
    assert re.search(r"cuda +(usable|not usable: \w)", done.stdout)
    assert re.search(r"reference +usable", done.stdout)


def test_module_ends_quietly_if_the_reader_of_its_pipe_has_gone():
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "tcae_ops"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_library_of_another_version_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(library, "_directories", lambda: iter([tmp_path]))
    (tmp_path / "libtcae_ops_cpu.so").touch()
    (tmp_path / "build.json").write_text(json.dumps({"version": "0.0.1"}))
    problem = library.Library("cpu").problem
    assert re.search(
        r"was built from version 0.0.1, but this is .*; run `pip install .` again", problem
    )
    (tmp_path / "build.json").unlink()
    assert "version unknown" in library.Library("cpu").problem


def test_library_that_was_not_built_or_is_broken_says_why(monkeypatch, tmp_path):
    monkeypatch.setattr(library, "_directories", lambda: iter([tmp_path]))
    assert library.Library("cpu").problem == "no library for cpu was built; run `pip install .`"
    build = {"version": library.VERSION, "cuda": {"skipped": "nvcc was not found"}}
    (tmp_path / "build.json").write_text(json.dumps(build))
    problem = library.Library("cuda").problem
    assert problem == "the library for cuda was not built: nvcc was not found"
    (tmp_path / "libtcae_ops_cpu.so").write_bytes(b"not a library")
    assert "cannot be loaded" in library.Library("cpu").problem


# Symbols that torch promises to keep, and those of the C and C++ run-time libraries.
STABLE = re.compile(
    r"(aoti_)?torch_\w+"
    r"|\w+@(GLIBC|GLIBCXX|CXXABI|GCC)_[\d.]+"
    r"|_ITM_\w+|__gmon_start__"
)


@pytest.mark.parametrize("device", ["CPU", "CUDA"])
def test_libraries_need_nothing_outside_the_stable_abi(device):
    path = getattr(library, device).path
    if path is None or shutil.which("nm") is None:
        pytest.skip(f"no library for {device}, or no nm to look into it")
    listing = subprocess.run(
        ["nm", "-D", "--undefined-only", path], capture_output=True, text=True, check=True
    )
    symbols = [line.split()[-1] for line in listing.stdout.splitlines()]
    assert any(symbol.startswith("torch_") for symbol in symbols)
    assert [s for s in symbols if not STABLE.fullmatch(s)] == []


# The latest that manylinux_2_28 has, on which torch's own wheels run.
LATEST = {"GLIBC": (2, 28), "GLIBCXX": (3, 4, 25), "CXXABI": (1, 3, 11), "GCC": (8, 0)}


def test_the_library_runs_on_systems_as_old_as_those_of_torch(cpp):
    if shutil.which("nm") is None or platform.libc_ver()[0] != "glibc":
        pytest.skip("there is no nm to look into the library, or no glibc")
    listing = subprocess.run(
        ["nm", "-D", "--undefined-only", library.CPU.path],
        capture_output=True,
        text=True,
        check=True,
    )
    needed = re.findall(r"(\w+)@([A-Z]+)_([\d.]+)", listing.stdout)
    assert needed
    later = [
        symbol
        for symbol, name, version in needed
        if tuple(map(int, version.split("."))) > LATEST[name]
    ]
    assert later == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="this GPU may well run them")
def test_the_cuda_library_itself_says_why_it_cannot_run():
    if library.CUDA.path is None:
        pytest.skip(f"{library.CUDA.problem}")
    reason = library.CUDA._problem_of_gpu(0)
    assert reason.startswith(f"its kernels, for {library.CUDA.build['cuda']['architectures']}, ")
    assert "cannot run on GPU 0: " in reason and "CUDA" in reason
