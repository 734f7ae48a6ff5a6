"""The CUDA library as nvcc compiles it: its contents for each architecture, and its resources."""

import itertools
import os
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import binaries
import pytest
import torch
from binaries import COMMON, PROCESSORS, Resources, run

import tcae_ops
from tcae_ops import library

ROOT = Path(__file__).parents[2]
FLOATS = ["float", "double"]
GROUPS = {"float, 2": 64, "float, 4": 128, "double, 1": 64}  # in bits of the working type
PASSES = ("forward", "backward")
KERNELS = {
    *(f"{name}_kernel<Anything<{g}>>" for name in PASSES for g in GROUPS),
    *(f"{name}_kernel<{known}>" for name in PASSES for known in COMMON),
    *(f"largest_kernel<{g}>" for g in (*GROUPS, "float, 1")),
    *(f"{name}_kernel<{t}>" for name in ("loss", "scale") for t in FLOATS),
    *(f"finish_kernel<{t}, {e}>" for t in FLOATS for e in ("Half", "BFloat16", "float")),
    "finish_kernel<double, double>",
    "probe_kernel",
}
BLOCK = 256  # threads, in every launch
BLEND_CACHE = (ROOT / "csrc/cuda/blend_cache.h").read_text()
MOST_CACHED = {g: int(re.search(r"kMostCached = (\d+)", BLEND_CACHE)[1]) for g in GROUPS}
MOST_CACHED["float, 4"] = int(re.search(r"kMostCachedInQuads = (\d+)", BLEND_CACHE)[1])


@pytest.fixture(scope="session")
def nvcc():
    path = os.environ.get("CUDACXX") or shutil.which("nvcc")
    if path is None:
        pytest.skip("nvcc was not found")
    missing = set(PROCESSORS) - set(run(path, "--list-gpu-arch").replace("compute", "sm").split())
    if missing:
        pytest.skip(f"nvcc does not know {', '.join(sorted(missing))}")
    return path


@pytest.fixture(scope="session")
def cuobjdump(nvcc):
    path = binaries.cuobjdump(Path(nvcc).resolve().parent)
    if path is None:
        pytest.skip("there is no cuobjdump; `pip install triton` brings one")
    return path


@pytest.fixture(scope="session")
def built(nvcc, tmp_path_factory):
    """The library for all architectures: the one in use, if it is for all of them at least."""
    names = library.CUDA.build.get("cuda", {}).get("architectures", "").split(";")
    if {f"sm_{name.partition('-')[0]}" for name in names} >= set(PROCESSORS):
        return library.CUDA.path
    build = tmp_path_factory.mktemp("cuda")
    wanted = [name.removeprefix("sm_") + "-real" for name in PROCESSORS]
    wanted[-1] = wanted[-1].removesuffix("-real")
    options = {
        "TCAE_OPS_DEVICE": "cuda",
        "TCAE_OPS_TORCH": Path(torch.__file__).parent,
        "CMAKE_CUDA_COMPILER": nvcc,
        "CMAKE_CUDA_ARCHITECTURES": ";".join(wanted),
    }
    run("cmake", "-S", ROOT, "-B", build, *(f"-D{k}={v}" for k, v in options.items()))
    run("cmake", "--build", build, "--parallel")
    return build / "libtcae_ops_cuda.so"


def demangled(name):
    """Return the kernel of a symbol, without namespaces and arguments."""
    text = run("c++filt", name).strip().replace("(anonymous namespace)::", "")
    return re.sub(r"\w+::", "", text.removeprefix("void ").partition("(")[0]).replace("> >", ">>")


def resources(cuobjdump, binary):
    """Return the resources of every kernel, by architecture."""
    found, kernels, names = {}, None, {}
    for line in run(cuobjdump, "-res-usage", binary).splitlines():
        words = line.split()
        if line.startswith("arch = "):
            kernels = found.setdefault(words[2], {})
        elif words[:1] == ["Function"]:
            symbol = words[1].rstrip(":")
            names.setdefault(symbol, demangled(symbol))
        elif "REG:" in line:
            kernels[names[symbol]] = binaries.usage(line)
    return found


@pytest.fixture(scope="session")
def usage(cuobjdump, built):
    return resources(cuobjdump, built)


def test_every_kernel_is_there_for_every_architecture(usage):
    assert set(usage) >= set(PROCESSORS)
    assert {name: set(kernels) for name, kernels in usage.items()} == dict.fromkeys(usage, KERNELS)


def test_there_is_ptx_for_what_comes_later(cuobjdump, built):
    assert re.search(r"sm_120\.ptx", run(cuobjdump, "-lptx", built))


def caching(kernels, group, more=0):
    """Return the resources of a backward pass with its cache: three groups per thread and flow."""
    it = kernels[f"backward_kernel<Anything<{group}>>"]
    cached_bytes = 3 * GROUPS[group] // 8 * (MOST_CACHED[group] + more) * BLOCK
    return replace(it, shared=it.shared + cached_bytes)


@pytest.mark.parametrize("architecture", PROCESSORS)
def test_kernels_live_in_registers_and_half_of_all_threads_fit(usage, architecture):
    kernels = usage[architecture]
    launched = kernels | {f"backward_kernel<Anything<{g}>>": caching(kernels, g) for g in GROUPS}
    for name, has in launched.items():
        assert has.stack == 0, f"{name} uses {has.stack} bytes of local memory"
        share = has.occupancy(PROCESSORS[architecture], BLOCK)
        assert share >= 0.5, f"{name} with {has} fills {share:.0%}"


@pytest.mark.parametrize("architecture", PROCESSORS)
def test_all_threads_fit_in_common_calls_and_five_eighths_backward(usage, architecture):
    for known, (name, share) in itertools.product(COMMON, (("forward", 1), ("backward", 0.625))):
        has = usage[architecture][f"{name}_kernel<{known}>"]
        assert has.occupancy(PROCESSORS[architecture], BLOCK) >= share, f"{name}, {known}: {has}"


@pytest.mark.parametrize("group", GROUPS)
def test_as_many_fields_are_cached_as_possible(usage, group):
    shares = [
        caching(usage[name], group, more=1).occupancy(processor, BLOCK)
        for name, processor in PROCESSORS.items()
    ]
    assert min(shares) < 0.5


def test_kernels_that_spill_are_found(nvcc, cuobjdump, tmp_path):
    source = tmp_path / "csrc"
    shutil.copytree(ROOT / "csrc", source)
    facts = source / "cuda/facts.h"
    text = facts.read_text()
    facts.write_text(text.replace("int blocks = 4;", "int blocks = 8;"))
    assert facts.read_text() != text
    flags = ["-std=c++17", "--expt-relaxed-constexpr", "-fmad=false", "-arch=sm_90"]
    binary = tmp_path / "forward.o"
    run(nvcc, *flags, f"-I{source}/include", "-c", source / "cuda/forward.cu", "-o", binary)
    kernels = resources(cuobjdump, binary)["sm_90"]
    assert kernels["forward_kernel<Anything<float, 2>>"].registers == 32
    assert kernels["forward_kernel<Anything<float, 2>>"].stack > 0


@pytest.mark.parametrize(
    ("registers", "shared", "share"), [(32, 0, 1), (64, 0, 0.5), (65, 0, 0.375), (32, 60000, 0.375)]
)
def test_occupancy(registers, shared, share):
    # From CUDA's occupancy calculator, for 9.0 and blocks of 256.
    assert Resources(registers, 0, shared).occupancy(PROCESSORS["sm_90"], BLOCK) == share


@pytest.fixture(scope="session")
def instructions(cuobjdump, built):
    """The names of all instructions of every kernel, by architecture."""
    found, names, architecture, lines = {}, {}, None, None
    for line in run(cuobjdump, "-sass", built).splitlines():
        if "arch = " in line:
            architecture = line.split()[2]
        elif "Function : " in line:
            symbol = line.split()[2]
            names.setdefault(symbol, demangled(symbol))
            lines = found.setdefault(architecture, {}).setdefault(names[symbol], [])
        else:
            name = binaries.instruction(line)
            if name is not None:
                lines.append(name)
    return found


def sums(instructions):
    """Return the types that a kernel adds to memory. 64: whole numbers."""
    added = [it for it in instructions if it.startswith(("RED", "ATOM"))]
    assert all(it.startswith("RED") for it in added)  # nobody waits for the old value
    return {"F32" if "F32" in it else "F64" if "F64" in it else "64" for it in added}


@pytest.mark.parametrize("architecture", PROCESSORS)
def test_memory_is_accessed_as_it_should_be(instructions, architecture):
    kernels = instructions[architecture]
    assert set(kernels) == KERNELS
    for name, all_of in kernels.items():
        assert not [it for it in all_of if it.startswith(("LDL", "STL"))], name
    for name in ("forward", "backward"):
        pairs, quads = (
            {re.sub(r"\.SYS$", "", it) for it in kernels[f"{name}_kernel<Anything<float, {p}>>"]}
            for p in (2, 4)
        )
        # Two fp32 numbers at a time, and the image through the read-only path.
        assert {"LDG.E.64", "STG.E.64"} <= pairs
        for has in (pairs, quads):
            assert {it.split(".")[2] for it in has if ".CONSTANT" in it} >= {
                "U8",
                "U16",
                "CONSTANT",
            }
        # Four of fp32 or of half types. What has 32 bits is four bytes of the target.
        others = {it for it in quads if ".CONSTANT" not in it}
        assert {it for it in others if it.startswith("LDG")} == {"LDG.E", "LDG.E.64", "LDG.E.128"}
        assert {it for it in others if it.startswith("STG")} == {"STG.E.64", "STG.E.128"}
    for group, bits in GROUPS.items():
        name = f"backward_kernel<Anything<{group}>>"
        kept = {it for it in kernels[name] if it.startswith(("LDS", "STS"))}
        assert {it.replace(".U.", ".") for it in kept} == {f"LDS.{bits}", f"STS.{bits}"}
        assert sums(kernels[name]) == {"64", "F32" if "float" in name else "F64"}
    for known in COMMON:  # the fields of a blend stay in registers
        all_of = kernels[f"backward_kernel<{known}>"]
        assert not [it for it in all_of if it.startswith(("LDS", "STS"))]
        assert sums(all_of) == {"64", "F32"}
        assert {it.removesuffix(".SYS") for it in all_of if ".CONSTANT" in it} == {
            "LDG.E.CONSTANT" if known.startswith("Common<float") else "LDG.E.U16.CONSTANT"
        }
    for name in KERNELS - {n for n in KERNELS if n.startswith("backward")}:
        assert not [it for it in kernels[name] if it.startswith(("RED.", "ATOM"))], name


# All calls of CUDA: enqueue work, and find out whether that succeeded. nvcc generates the launches,
# from 13.0 on with functions whose names begin with underscores.
ENQUEUES = {"cudaLaunchKernel", "cudaMemsetAsync", "cudaGetLastError"}


@pytest.mark.parametrize("name", ["forward", "backward"])
def test_nothing_waits_copies_or_allocates(nvcc, tmp_path, name):
    """So passes can be captured in a graph. csrc/torch/cuda.cpp only includes types."""
    flags = ["-std=c++17", "--expt-relaxed-constexpr", "-arch=sm_90", f"-I{ROOT}/csrc/include"]
    run(nvcc, *flags, "-c", ROOT / f"csrc/cuda/{name}.cu", "-o", tmp_path / "it.o")
    listing = run("nm", "--undefined-only", tmp_path / "it.o")
    asked = set(re.findall(r" (cuda\w+)", listing))
    assert "cudaGetLastError" in asked
    assert asked <= ENQUEUES


def test_library_contains_what_it_needs_of_cuda(built):
    needed = re.findall(r"NEEDED.*\[(.*)\]", run("readelf", "-d", built))
    assert not [name for name in needed if "cuda" in name or "nv" in name]


LOAD = """
import sys, torch, tcae_ops
torch.ops.load_library(sys.argv[1])
for name in ("forward", "backward", "backward_deterministic"):
    print(torch._C._dispatch_has_kernel_for_dispatch_key(f"tcae_ops::{name}", "CUDA"))
image = torch.rand(1, 1, 3, 3)
print(torch.equal(tcae_ops.warp(image, torch.zeros(1, 2, 3, 3)), image))
"""


def test_library_loads_without_a_gpu(built):
    if library.CPU.problem is not None or library.CUDA.problem is None:
        pytest.skip("for a machine that has the library for CPUs, and no CUDA")
    assert run(sys.executable, "-c", LOAD, built).split() == ["True"] * 4


def test_without_cuda_the_backend_says_so():
    if library.CUDA.problem is None:
        pytest.skip("CUDA is there")
    image = torch.zeros(1, 1, 3, 3)
    with pytest.raises(ValueError, match="backend 'cuda' cannot run: it is for cuda tensors"):
        tcae_ops.warp(image, torch.zeros(1, 2, 3, 3), backend="cuda")
    assert re.search("without CUDA|not built|no library", library.CUDA.problem)
