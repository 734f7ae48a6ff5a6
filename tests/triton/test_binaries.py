"""The resources of Triton's kernels, compiled for GPUs that are not here."""

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import binaries
import pytest
from binaries import PROCESSORS, Resources

from tcae_ops import triton

COMPILE = Path(__file__).parent / "ahead_of_time/compile.py"
NVIDIA = ["sm_80", "sm_90", "sm_100"]
ARCHITECTURES = [*NVIDIA, "gfx942"]
PYTHONPATH = os.pathsep.join([str(Path(binaries.__file__).parent), *sys.path])
THREADS = 128  # per block: four warps, or 256 threads if a warp has 64
TYPES = ["uint8", "float16", "bfloat16", "float32", "float64"]
WAYS = [*TYPES, "zeros", "reflection", "one flow", "4 flows", "odd sizes"]
DETERMINISTIC = ["float32 deterministic", "float64 deterministic"]
# Bytes have no gradient.
SCATTERS = {f"backward, {way}" for way in WAYS[1:] + DETERMINISTIC}
# Where fewer than half of the threads fit. fp64 serves to check the others.
FEWER_THREADS = {"backward, float64": 0.25, "backward, float64 deterministic": 0.25}
LOCAL_MEMORY = {"backward, float64": 8}  # bytes of a thread; all others have none
if metadata.version("triton").startswith("3.6."):  # comes with torch 2.11
    FEWER_THREADS |= {"backward, 4 flows": 0.43}  # 70 registers for sm_90
    LOCAL_MEMORY |= {"backward, float64 deterministic": 8, "forward, reflection": 8}


@pytest.fixture(scope="session")
def compiled(request, tmp_path_factory):
    """Function that returns the kernels' resources on an architecture. All compile in parallel."""
    if triton.PROBLEM is not None:
        pytest.skip(triton.PROBLEM)
    if binaries.cuobjdump() is None:
        pytest.skip("there is no cuobjdump")
    folder = tmp_path_factory.mktemp("triton")
    cache = getattr(request.config, "cache", None)
    kept = cache.mkdir("triton_kernels") if cache is not None else folder
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH, "TRITON_CACHE_DIR": str(kept)}
    environment.pop("TRITON_INTERPRET", None)
    processes = {
        name: subprocess.Popen(
            [sys.executable, str(COMPILE), name, str(folder)],
            env=environment,
            stdout=(folder / f"{name}.json").open("w"),
            stderr=(folder / f"{name}.log").open("w"),
        )
        for name in ARCHITECTURES
    }

    def wait(name):
        assert processes[name].wait() == 0, (folder / f"{name}.log").read_text()
        return json.loads((folder / f"{name}.json").read_text())

    yield wait
    for process in processes.values():
        process.kill()
        process.wait()


def test_the_self_test_compiles_few_kernels():
    """Each takes a third of a second. The first run on a GPU should take about a minute."""
    if triton.PROBLEM is not None:
        pytest.skip(triton.PROBLEM)
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH}
    environment.pop("TRITON_INTERPRET", None)
    command = [sys.executable, str(COMPILE.with_name("count.py"))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 50 < int(done.stdout) <= 110


COMPILE_ONE = """
import sys, torch
from compile import Absent, GPUTarget, driver, forward, launch
driver.set_active(Absent(GPUTarget("cuda", 90, 32)))
forward.launch = lambda kernel, programs, image, *arguments, **constants: kernel.warmup(
    *arguments, **constants, **launch.OPTIONS, grid=(programs,)
)
inputs = [torch.zeros(1, 1, 4, 4), torch.zeros(1, 2, 4, 4)]
forward.forward(inputs, 1, 0, "pixels", sys.argv[1], True)
print("compiled")
"""


@pytest.mark.parametrize(
    ("padding", "said"), [("zeros", "compiled"), ("wrap", "fold() does not know padding wrap")]
)
def test_a_kernel_with_an_unknown_padding_does_not_compile(tmp_path, padding, said):
    if triton.PROBLEM is not None:
        pytest.skip(triton.PROBLEM)
    path = os.pathsep.join([str(COMPILE.parent), PYTHONPATH])
    environment = {**os.environ, "PYTHONPATH": path, "TRITON_CACHE_DIR": str(tmp_path)}
    environment.pop("TRITON_INTERPRET", None)
    command = [sys.executable, "-c", COMPILE_ONE, padding]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert said in done.stdout + done.stderr


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_kernel_compiles_for_every_type(compiled, architecture):
    kernels = compiled(architecture)
    passes = [f"{name}, {way}" for name in ("forward", "backward") for way in WAYS + DETERMINISTIC]
    assert set(kernels) == {
        *passes,
        *(f"loss, {way}" for way in WAYS + DETERMINISTIC),
        *(f"largest, {way}" for way in DETERMINISTIC),
    }


@pytest.mark.parametrize("architecture", NVIDIA)
def test_kernels_live_in_registers_and_half_of_all_threads_fit(compiled, architecture):
    for name, it in compiled(architecture).items():
        most = LOCAL_MEMORY.get(name, 0)
        assert it["stack"] <= most, f"{name} uses {it['stack']} bytes of local memory"
        has = Resources(it["registers"], it["stack"], it["shared"])
        share = has.occupancy(PROCESSORS[architecture], THREADS)
        assert share >= FEWER_THREADS.get(name, 0.5), f"{name}: {it['registers']}, {share:.0%}"


def test_nothing_is_spilled_on_amd(compiled):
    for name, it in compiled("gfx942").items():
        assert it["stack"] == 0, name
        assert it["registers"] <= 128, name  # four of a unit's eight waves: AMD's ISA guide


@pytest.mark.parametrize("architecture", NVIDIA)
def test_memory_is_accessed_as_it_should_be(compiled, architecture):
    for name, it in compiled(architecture).items():
        has = it["instructions"]
        local = [op for op in has if op.startswith(("LDL", "STL"))]
        assert not local or name in LOCAL_MEMORY, name
        assert not [op for op in has if op.startswith("ATOM")], name  # nobody waits for old values
        added = {op.split(".")[3] for op in has if op.startswith("RED")} - {"64"}
        kind = "F64" if "float64" in name else "F32"
        assert added == ({kind} if name in SCATTERS else set()), (name, added)


@pytest.mark.parametrize("architecture", NVIDIA)
def test_gradients_read_every_field_once(compiled, architecture):
    """Also four pixels of a channel, target and its gradient, that of the loss, a scale of sums."""
    for name, it in compiled(architecture).items():
        if name.startswith("backward"):
            fields = {"one flow": 2, "4 flows": 12}.get(name.partition(", ")[2], 6)
            assert it["loads"] == fields + 7 + ("deterministic" in name), name


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_sums_of_whole_numbers_are_there_when_deterministic(compiled, architecture):
    for name, it in compiled(architecture).items():
        nvidia, amd = ".E.ADD.64", "_atomic_add_x2"
        wholes = [op for op in it["instructions"] if nvidia in op or op.endswith(amd)]
        assert bool(wholes) == (name.startswith("backward") and "deterministic" in name), name
