"""Results of another size than the image, and arguments given once for a whole batch."""

import pytest
import torch
from torch import func
from torch.autograd import gradcheck, gradgradcheck
from torch.library import opcheck

import tcae_ops
from tcae_ops import library
from tcae_ops.request import PADDINGS, UNITS

ARGUMENTS = ["image", "flows", "logits", "target"]


def flat(image, flows, logits, target):
    return [image, *flows, *logits, target]


def blend_l1(inputs, backend=None, **options):
    image, f1, f2, k1, k2, target = inputs
    options = {"return_warped": True, "backend": backend, **options}
    return tcae_ops.blend_warp_l1(image, [f1, f2], [k1, k2], target, **options)


def alone(name, inputs):
    """The inputs, of which one argument is only given for the first sample."""
    places = {"image": [0], "flows": [1, 2], "logits": [3, 4], "target": [5]}[name]
    return [t[:1] if i in places else t for i, t in enumerate(inputs)]


def repeated(inputs, n):
    """Copies for the whole batch."""
    return [t.repeat(n, *[1] * (t.dim() - 1)) if len(t) == 1 else t for t in inputs]


def leaves(inputs):
    return [t.detach().clone().requires_grad_(t.dtype.is_floating_point) for t in inputs]


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("size", [(3, 4), (9, 8)])
def test_agrees_with_loops(backend, problem, truth, size, units, padding):
    reach = 3.0 if units == "pixels" else 0.8
    image, flows, logits, target = problem((2, 3, 5, 7), reach=reach, size=size)
    for own in (image, image[:1]):
        arguments = own, [flows[0], flows[1][:1]], logits, target[:1]
        expected = truth(*arguments, units, padding)
        got = blend_l1(flat(*arguments), backend, units=units, padding=padding)
        for a, b in zip(got, expected, strict=True):
            torch.testing.assert_close(a.double(), b, rtol=0, atol=3e-6)


def test_no_displacement_cuts_out_the_first_corner(backend):
    image = torch.rand(2, 3, 9, 30)
    got = tcae_ops.warp(image, torch.zeros(2, 2, 4, 11), backend=backend)
    assert torch.equal(got, image[:, :, :4, :11])
    shift = torch.tensor([5.0, 3.0]).reshape(1, 2, 1, 1)
    got = tcae_ops.warp(image, shift.expand(1, 2, 4, 11), backend=backend)
    assert torch.equal(got, image[:, :, 3:7, 5:16])
    beyond = tcae_ops.warp(image, torch.zeros(1, 2, 12, 33), padding="zeros", backend=backend)
    assert torch.equal(beyond, torch.nn.functional.pad(image, (0, 3, 0, 3)))


@pytest.mark.parametrize("name", ARGUMENTS)
def test_what_is_given_once_counts_for_every_sample(backend, problem, name):
    inputs = flat(*problem((3, 2, 9, 20), image=torch.float64, flow=torch.float64))
    own = leaves(alone(name, inputs))
    loss, warped = blend_l1(own, backend)
    copies = repeated(own, 3)
    expected = blend_l1(copies, backend)
    assert torch.equal(loss, expected[0]) and torch.equal(warped, expected[1])
    weight = torch.rand(warped.shape, dtype=torch.float64)
    results = [
        torch.autograd.grad(a.sum() * 100 + (b * weight).sum(), own)
        for a, b in ((loss, warped), expected)
    ]
    for got, wanted, t in zip(*results, own, strict=True):
        assert got.shape == t.shape
        torch.testing.assert_close(got, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", [(4, 5), (2, 2)])
@pytest.mark.parametrize("name", ARGUMENTS)
def test_gradcheck(cpp, problem, name, size):
    inputs = problem((2, 1, 3, 2), image=torch.float64, flow=torch.float64, size=size)
    own = leaves(alone(name, flat(*inputs)))
    assert gradcheck(lambda *t: blend_l1(t), own)
    assert gradgradcheck(lambda *t: blend_l1(t), own)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_image_has_the_same_gradient_for_every_number_of_threads(cpp, problem, dtype, padding):
    inputs = problem((5, 3, 60, 128), image=dtype, reach=30.0, size=(90, 70))
    own = leaves(alone("image", flat(*inputs)))
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 3, 7):
            torch.set_num_threads(count)
            loss, warped = blend_l1(own, "cpp", padding=padding)
            results.append(torch.autograd.grad(loss.sum() * 1e4 + warped.sum(), own))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_nothing_is_copied_for_the_batch(cpp, problem):
    image, (flow,), _, _ = problem((16, 3, 64, 96), 1)
    image, upstream = image[:1], torch.rand(16, 3, 64, 96)

    def allocated(run):
        with torch.profiler.profile(profile_memory=True) as profile:
            run()
        return sum(max(0, event.self_cpu_memory_usage) for event in profile.events())

    slack = image.nbytes // 10
    assert allocated(lambda: tcae_ops.warp(image, flow)) <= upstream.nbytes + slack
    own = image.clone().requires_grad_()
    warped = tcae_ops.warp(own, flow)
    assert allocated(lambda: torch.autograd.grad(warped, own, upstream)) <= own.nbytes + slack


def test_registered_operators_keep_their_promises(cpp, problem):
    ops = torch.ops.tcae_ops
    for last in (False, True):
        i, f1, f2, k1, k2, t = leaves(alone("image", flat(*problem((2, 3, 6, 8), size=(5, 9)))))
        if last:
            i = i.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
        opcheck(ops.warp.default, (i, f1))
        opcheck(ops.warp.default, (i.detach().expand(2, -1, -1, -1), f1[:1]))
        opcheck(ops.blend_warp_l1.warped, (i, [f1, f2[:1]], [k1, k2], t[:1]))
        inputs = [x.detach() for x in (i, f1, t)]
        opcheck(ops.warp_forward.default, (*inputs[:2], "pixels", "border"))
        loss, warped = tcae_ops.warp_l1(*inputs, return_warped=True)
        assert warped.is_contiguous(memory_format=torch.channels_last) == last
        arguments = [loss, warped], True, inputs, 1, 0, "pixels", "zeros", [0, 1, 2]
        opcheck(ops.backward.default, arguments)


@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_into_one_graph(cpp, problem, dynamic):
    torch._dynamo.reset()
    compiled = torch.compile(blend_l1, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    for n, size in ((3, (5, 9)), (4, (8, 6))) if dynamic else ((3, (5, 9)),):
        own = leaves(alone("image", flat(*problem((n, 2, 6, 7), size=size))))
        results = [f(own) for f in (blend_l1, compiled)]
        torch.testing.assert_close(*results)
        sums = [loss.sum() * 10 + warped.sum() for loss, warped in results]
        torch.testing.assert_close(*[torch.autograd.grad(s, own) for s in sums])


class Warp(torch.nn.Module):
    def forward(self, image, flow):
        return tcae_ops.warp(image, flow)


def test_exports_with_any_batch_and_size(cpp):
    batch, height = torch.export.Dim("batch"), torch.export.Dim("height", max=4000)
    shapes = {"image": None, "flow": {0: batch, 2: height}}
    image = torch.rand(1, 3, 9, 8)
    program = torch.export.export(Warp(), (image, torch.rand(2, 2, 6, 7)), dynamic_shapes=shapes)
    flow = 3 * torch.randn(5, 2, 20, 7)
    assert torch.equal(program.module()(image, flow), tcae_ops.warp(image, flow))


@pytest.mark.parametrize("backend", ["cpp", "reference"])
@pytest.mark.parametrize("dims", [(None, 0), (0, 0), (0, None)])
def test_vmap(cpp, dims, backend):
    """Each member has one image and three flows of another size."""
    image = torch.rand(*[4] * (dims[0] == 0), 1, 2, 5, 6, dtype=torch.float64)
    flow = torch.randn(*[4] * (dims[1] == 0), 3, 2, 7, 3, dtype=torch.float64)

    def run(image, flow):
        return tcae_ops.warp(image, flow, backend=backend)

    def members(image, flow):
        pick = [[t] * 4 if d is None else t for t, d in zip((image, flow), dims, strict=True)]
        return torch.stack(
            [tcae_ops.warp(*pair, backend="reference") for pair in zip(*pick, strict=True)]
        )

    own = leaves([image, flow])
    got, expected = func.vmap(run, dims)(*own), members(*own)
    torch.testing.assert_close(got, expected)
    grads = [torch.autograd.grad(t.square().sum(), own) for t in (got, expected)]
    torch.testing.assert_close(*grads)
    jacobians = [
        func.jacfwd(lambda i: func.vmap(run, dims)(i, flow).sum((1, 2, 3)))(image),
        func.jacrev(lambda i: members(i, flow).sum((1, 2, 3)))(image),
    ]
    torch.testing.assert_close(*jacobians)


def test_vmap_of_the_backward_pass(cpp):
    image, flow = torch.rand(1, 2, 5, 6), torch.randn(3, 2, 5, 6)
    upstream = torch.rand(4, 3, 2, 5, 6)

    def backward(upstream):
        options = 1, 0, "pixels", "border", [0, 1]
        return torch.ops.tcae_ops.backward([upstream], False, [image, flow], *options)

    got = func.vmap(backward)(upstream)
    for i in range(4):
        torch.testing.assert_close([t[i] for t in got], backward(upstream[i]))


def test_an_empty_batch_of_one_image(backend):
    own = leaves([torch.rand(1, 3, 4, 5), torch.zeros(0, 2, 6, 7)])
    warped = tcae_ops.warp(*own, backend=backend)
    assert warped.shape == (0, 3, 6, 7)
    by_image, by_flow = torch.autograd.grad(warped.sum(), own)
    assert torch.equal(by_image, torch.zeros(1, 3, 4, 5)) and by_flow.shape == (0, 2, 6, 7)


def test_kernels_refuse_batches_that_do_not_fit(cpp):
    image, flow = torch.rand(2, 1, 4, 5), torch.rand(3, 2, 4, 5)
    for images, flows in ((image, flow), (image[:1], flow[:0])):
        with pytest.raises(RuntimeError, match="there must be one image for all, or"):
            library.PASSES.forward([images, flows], 1, 0, "pixels", "border", True)
