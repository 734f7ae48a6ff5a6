"""Only what is needed is computed and allocated. Offsets of more than 32 bits work."""

import ctypes
import itertools
import mmap
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

import tcae_ops
from tcae_ops import library

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("cpp")


def objective(inputs):
    count = (len(inputs) - 2) // 2
    loss, warped = tcae_ops.blend_warp_l1(
        inputs[0],
        inputs[1 : 1 + count],
        inputs[1 + count : -1],
        inputs[-1],
        return_warped=True,
        backend="cpp",
    )
    weight = torch.linspace(-1, 1, warped.numel(), dtype=warped.dtype).reshape(warped.shape)
    return loss.sum() * warped[:1].numel() + (warped * weight).sum()


def allocated(run):
    """Return the bytes that torch allocates while `run` runs."""
    with torch.profiler.profile(profile_memory=True) as profile:
        run()
    return sum(max(0, event.self_cpu_memory_usage) for event in profile.events())


def test_each_gradient_only_if_needed(problem, monkeypatch):
    image, flows, logits, target = problem(image=torch.float64, flow=torch.float64)
    inputs = [image, *flows, *logits, target]
    own = [t.detach().requires_grad_() for t in inputs]
    every = torch.autograd.grad(objective(own), own)
    kernels = []
    original = library.PASSES.backward

    def spy(*arguments):
        kernels.append(original(*arguments))
        return kernels[-1]

    monkeypatch.setattr(library.PASSES, "backward", spy)
    for needs in itertools.product([False, True], repeat=len(inputs)):
        if not any(needs):
            continue
        own = [t.detach().requires_grad_(need) for t, need in zip(inputs, needs, strict=True)]
        wanted = [t for t in own if t.requires_grad]
        got = torch.autograd.grad(objective(own), wanted)
        assert len(kernels.pop()) == len(wanted)
        expected = [g for g, need in zip(every, needs, strict=True) if need]
        assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))
    objective(inputs)
    assert kernels == []


def test_nothing_needs_a_gradient_no_graph(problem):
    image, flows, logits, target = problem()
    flows[0].requires_grad_()
    with torch.no_grad():
        assert not tcae_ops.blend_warp_l1(image, flows, logits, target).requires_grad
    target = target.requires_grad_()
    assert not tcae_ops.blend_warp(image, [f.detach() for f in flows], logits).requires_grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_allocations_are_the_gradients_and_nothing_else(problem, dtype):
    image, flows, logits, target = problem((2, 3, 96, 128), 1, image=dtype)
    inputs = [image, *flows, *logits, target]
    slack = image.nbytes // 100
    for needs in itertools.product([False, True], repeat=len(inputs)):
        own = [t.detach().requires_grad_(need) for t, need in zip(inputs, needs, strict=True)]
        arguments = own[0], own[1:2], own[2:3], own[3]
        losses = []
        forward = allocated(lambda: losses.append(tcae_ops.blend_warp_l1(*arguments)))  # noqa: B023
        assert forward <= slack
        wanted = [t for t in own if t.requires_grad]
        if wanted:
            upstream = torch.ones(2)
            backward = allocated(lambda: torch.autograd.grad(losses, wanted, upstream))  # noqa: B023
            bytes_needed = sum(t.nbytes for t in wanted)
            assert bytes_needed <= backward <= bytes_needed + slack


class HeapInfo(ctypes.Structure):
    """``struct mallinfo2`` of glibc."""

    _names = ("arena", "ordblks", "smblks", "hblks", "hblkhd")
    _names += ("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
    _fields_ = [(name, ctypes.c_size_t) for name in _names]


def test_calls_leave_nothing_behind(problem):
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallinfo2"):
        pytest.skip("only glibc tells how much memory is in use")
    libc.mallinfo2.restype = HeapInfo
    image, flows, logits, target = problem()
    leaf = flows[0].detach().requires_grad_()

    def call():
        tcae_ops.warp(image, leaf.detach(), backend="cpp")
        loss = tcae_ops.blend_warp_l1(image, [leaf, flows[1]], logits, target, backend="cpp")
        torch.autograd.grad(loss.sum(), leaf)

    def in_use():
        heap = libc.mallinfo2()
        return heap.uordblks + heap.hblkhd

    for _ in range(200):
        call()
    before = in_use()
    for _ in range(2000):
        call()
    assert in_use() - before < 2000 * 16  # less than the smallest thing malloc can give


OFFSETS = """
#include <stdio.h>
#include "tcae_ops/views.h"
int main() {
  tcae_ops::View v;
  long long n, c, y, sn, sc, sh;
  while (scanf("%lld %lld %lld %lld %lld %lld", &n, &c, &y, &sn, &sc, &sh) == 6) {
    v.stride_n = sn, v.stride_c = sc, v.stride_h = sh;
    printf("%lld %lld\\n", (long long)v.plane(n, c), (long long)v.row(n, c, y));
  }
}
"""


def test_offsets_of_planes_and_rows_are_of_64_bits(tmp_path):
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    source, program = tmp_path / "offsets.cpp", tmp_path / "offsets"
    source.write_text(OFFSETS)
    include = f"-I{ROOT / 'csrc/include'}"
    subprocess.run([compiler, "-std=c++17", include, source, "-o", program], check=True)
    cases = [
        (1, 1, 1, 2**31, 2**31, 2**31),
        (70_000, 2, 255, 3 * 256 * 256, 256 * 256, 256),
        (3, 50_000, 8191, 50_000 * 2**26, 2**26, 2**13),
        (2**31 + 5, 0, 0, 2**31, 1, 1),
        (0, 2**33, 2**31 - 1, 1, 7, 2),
    ]
    lines = "\n".join(" ".join(map(str, case)) for case in cases)
    done = subprocess.run([program], input=lines, capture_output=True, text=True, check=True)
    got = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    planes = [(n * sn + c * sc, y * sh) for n, c, y, sn, sc, sh in cases]
    assert got == [(plane, plane + row) for plane, row in planes]


def far_apart(tensor, axis):
    """Copy numbers to places more than 2^31 elements apart along an axis, with little memory."""
    stride = 2**31 + 64
    size = tensor.element_size() * (stride * (tensor.shape[axis] - 1) + 4 * tensor.numel())
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000  # MAP_NORESERVE
    try:
        memory = mmap.mmap(-1, size, flags=flags)
    except OSError as error:
        pytest.skip(f"no {size >> 30} GB of address space: {error}")
    strides = list(tensor.contiguous().stride())
    strides[axis] = stride
    whole = torch.frombuffer(memory, dtype=tensor.dtype)
    return whole.as_strided(tensor.shape, strides).copy_(tensor)


def test_rows_further_apart_than_32_bits_are_refused(problem):
    image, flows, _, _ = problem((1, 1, 2, 20), image=torch.uint8)
    with pytest.raises(RuntimeError, match=r"a plane of the image must span less than 2\^31"):
        tcae_ops.warp(far_apart(image, 2), flows[0], backend="cpp")


@pytest.mark.parametrize("axis", [0, 1])
def test_planes_further_apart_than_32_bits(backend, problem, axis):
    if torch.get_default_device().type != "cpu":
        pytest.skip("tests/gpu does it in a GPU's memory")
    image, flows, logits, target = problem((2, 2, 5, 20), image=torch.uint8)
    near = [image, *flows, *[k.reshape(2, 1, 5, 20) for k in logits], target]
    far = [near[0], *near[1:]]
    for i, t in enumerate(near):
        if t.shape[axis] == 2:
            far[i] = far_apart(t, axis)
    results = []
    for inputs in (near, far):
        fields = [t.detach().requires_grad_() for t in inputs[1:5]]
        loss, warped = tcae_ops.blend_warp_l1(
            inputs[0], fields[:2], fields[2:], inputs[5], return_warped=True, backend=backend
        )
        gradients = torch.autograd.grad(loss.sum() + warped.sum(), fields)
        results.append([loss, warped, *gradients])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
