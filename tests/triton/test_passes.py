"""Triton's kernels in the interpreter: what the tables of tests/ops do not test of them."""

import itertools

import pytest
import torch
from torch.library import opcheck

import tcae_ops
from tcae_ops import triton
from tcae_ops.request import Request
from tcae_ops.selftest.agreement import agree, differentiate
from tcae_ops.selftest.cases import CASES, Case, make_inputs, random_inputs

if not triton.INTERPRETED:
    pytest.skip("on a GPU kernels are compiled, not interpreted", allow_module_level=True)

compiler = pytest.importorskip("triton")
tl = compiler.language

from tcae_ops.triton import launch  # noqa: E402
from tcae_ops.triton.coordinates import cell, fold  # noqa: E402
from tcae_ops.triton.tensors import plane, view  # noqa: E402

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("interpreter")
CROWDED = Case((1, 3, 60, 70), reach=30.0)  # several programs, and many samples of the same pixels


def check(case, dtype=torch.float32, layout="contiguous"):
    inputs = make_inputs(case, dtype, layout, CPU)
    agree(inputs.all, case.count, inputs.upstream, case.options, "triton")


@pytest.mark.parametrize("count", range(1, triton.MOST_FLOWS + 2))
def test_any_number_of_flows(count, monkeypatch):
    calls = []
    forward = triton.PASSES.forward
    monkeypatch.setattr(triton.PASSES, "forward", lambda *a: calls.append(a) or forward(*a))
    check(Case((2, 2, 7, 9), count=count))
    assert bool(calls) == (count <= triton.MOST_FLOWS)  # the definition runs for more


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(
    "name", ["twin", "rough", "zeros", "nowhere", "infinitely far", "deep", "one image"]
)
def test_deterministic_gradients_are_right(deterministic, name, dtype):
    deterministic(True)
    check(CASES[name], dtype, "sliced")


@pytest.fixture
def backwards(monkeypatch):
    """Function after which programs run in the opposite order."""
    from triton.runtime.interpreter import interpreter_builder as builder

    step = builder.set_grid_idx
    return lambda: monkeypatch.setattr(
        builder, "set_grid_idx", lambda x, y, z: step(builder.grid_dim[0] - 1 - x, y, z)
    )


@pytest.mark.parametrize("is_deterministic", [False, True])
def test_bits_in_another_order(deterministic, backwards, is_deterministic):
    deterministic(is_deterministic)
    inputs = make_inputs(CROWDED, torch.float32, "contiguous", CPU)
    options = {**CROWDED.options, "backend": "triton"}
    first = differentiate(inputs.all, CROWDED.count, inputs.upstream, options)
    backwards()
    second = differentiate(inputs.all, CROWDED.count, inputs.upstream, options)
    assert torch.equal(first.loss, second.loss)
    same = [torch.equal(a, b) for a, b in zip(first.gradients, second.gradients, strict=True)]
    assert same == [is_deterministic, *[True] * (len(same) - 1)]


@pytest.mark.parametrize("is_deterministic", [False, True])
def test_infinite_contributions(deterministic, is_deterministic):
    """Whole numbers cannot represent them."""
    deterministic(is_deterministic)
    image = torch.rand(1, 1, 4, 6)
    flow = torch.full((1, 2, 4, 6), 0.25)
    upstream = torch.randn(1, 1, 4, 6)
    upstream[0, 0, 1, 2], upstream[0, 0, 3, 3] = torch.inf, torch.nan
    gradients = []
    for backend in ("reference", "triton"):
        own = image.clone().requires_grad_()
        warped = tcae_ops.warp(own, flow, backend=backend)
        gradients += torch.autograd.grad(warped, own, upstream)
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-6, equal_nan=True)
    assert gradients[0].isinf().any() and gradients[0].isnan().any()


def test_each_gradient_only_if_needed(monkeypatch):
    image, flows, logits, target = random_inputs()
    inputs = [image, *flows, *logits, target]
    kernels = []
    backward = triton.PASSES.backward
    monkeypatch.setattr(
        triton.PASSES, "backward", lambda *a: kernels.append(backward(*a)) or kernels[-1]
    )

    def gradients(needs):
        own = [t.detach().requires_grad_(need) for t, need in zip(inputs, needs, strict=True)]
        loss = tcae_ops.blend_warp_l1(own[0], own[1:3], own[3:5], own[5], backend="triton")
        return torch.autograd.grad(loss.sum(), [t for t in own if t.requires_grad])

    every = gradients([True] * 6)
    kernels.clear()
    for needs in itertools.product([False, True], repeat=6):
        if sum(needs) not in (1, 2, 5):
            continue
        got = gradients(needs)
        assert len(kernels.pop()) == sum(needs)
        expected = [g for g, need in zip(every, needs, strict=True) if need]
        assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


def test_offsets_inside_planes_of_64_bits(monkeypatch):
    far = torch.empty_strided((1, 2, 3, 4), (2**40, 2**36, 2**30, 1), device="meta")
    near = torch.empty(1, 2, 3, 4, device="meta")
    requests = [Request(near, [t], [], [], "pixels", "zeros", True) for t in (near, far)]
    types = [launch.Call.of(request, []).types for request in requests]
    assert [it["INDEX"].name for it in types] == ["int32", "int64"]
    monkeypatch.setattr(launch, "FAR", 0)
    for name in ("twin", "zeros", "reflection"):
        check(CASES[name], torch.float32, "sliced")


@compiler.jit
def begin(v, n, c, out):
    tl.store(out, plane(v, n, c).to(tl.int64) - v.data.to(tl.int64))


def test_planes_begin_at_offsets_of_64_bits():
    out = torch.zeros(1, dtype=torch.int64)
    for n, c, stride_n, stride_c in [(3, 5, 2**31 + 64, 2**20), (70_000, 2, 196_608, 65_536)]:
        tensor = torch.zeros(1, dtype=torch.uint8).as_strided([1] * 4, (stride_n, stride_c, 1, 1))
        # A batch of one serves all samples, but the memory of a larger one would be too much.
        of_many = view(tensor)._replace(n=2 * stride_n + 3)
        begin[(1,)](of_many, n, c, out)
        assert out.item() == n * stride_n + c * stride_c


@compiler.jit
def fold_one(position, out, PADDING: tl.constexpr):
    tl.store(out, fold(tl.load(position + tl.arange(0, 1)), 5, PADDING)[0].sum(0))


@compiler.jit
def cell_of_one(position, out, PADDING: tl.constexpr):
    tl.store(out, cell(tl.load(position + tl.arange(0, 1)), 5, PADDING, tl.int32)[2].sum(0))


@pytest.mark.parametrize(("kernel", "name"), [(fold_one, "fold"), (cell_of_one, "cell")])
def test_an_unknown_padding_is_refused(kernel, name):
    position, out = torch.tensor([1.25]), torch.zeros(1)
    kernel[(1,)](position, out, "reflection")
    assert out.item() == (1.25 if name == "fold" else 0.25)
    with pytest.raises(Exception, match=rf"{name}\(\) does not know padding wrap"):
        kernel[(1,)](position, out, "wrap")


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bfloat16, torch.float32], ids=str)
def test_operators_keep_their_promises(dtype):
    image, flows, logits, target = random_inputs((2, 3, 6, 8), image=dtype)
    image = image.contiguous(memory_format=torch.channels_last)
    ops, options = torch.ops.tcae_ops, (2, 2, "normalized", "zeros")
    inputs = [image, *flows, *logits, target]
    opcheck(ops.forward_triton.default, (inputs, *options, True))
    results = ops.forward_triton.default(inputs, *options, True)
    needs = list(range(int(not image.is_floating_point()), 5 + image.is_floating_point()))
    for op in (ops.backward_triton.default, ops.backward_deterministic_triton.default):
        opcheck(op, (results, True, inputs, *options, needs))
    fields = [t.requires_grad_() for t in (*flows, *logits)]
    opcheck(ops.run_triton.default, ([image, *fields, target], *options, True))


@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_into_one_graph(dynamic):
    def program(image, flow, logit, target):
        with tcae_ops.backend("triton"):
            warped = tcae_ops.warp(image, flow, padding="zeros")
        flows, logits = [flow, -flow], [logit, -logit]
        return tcae_ops.blend_warp_l1(warped, flows, logits, target, backend="triton").sum()

    torch._dynamo.reset()
    compiled = torch.compile(program, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    for shape in ((2, 3, 6, 8), (3, 3, 10, 5)) if dynamic else ((2, 3, 6, 8),):
        image, flows, logits, target = random_inputs(shape, 1)
        own = [t.requires_grad_() for t in (image, flows[0], logits[0], target)]
        values = program(*own), compiled(*own)
        pairs = zip(*(torch.autograd.grad(value, own) for value in values), strict=True)
        torch.testing.assert_close(*values)
        for a, b in pairs:
            torch.testing.assert_close(a, b)
