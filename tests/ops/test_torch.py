"""The operators inside torch: opcheck, compilation, export, autocast."""

import pytest
import torch
from torch.library import opcheck

import tcae_ops

pytestmark = pytest.mark.usefixtures("cpp")


def leaves(tensors):
    return [t.detach().requires_grad_() for t in tensors]


def test_registered_operators_keep_their_promises(problem):
    image, flows, logits, target = problem((2, 3, 6, 8))
    ops = torch.ops.tcae_ops
    i, t, f1, f2, l1, l2 = leaves([image, target, *flows, *logits])
    units = {"units": "normalized", "padding": "zeros"}
    opcheck(ops.warp.default, (i, f1), units)
    opcheck(ops.warp_l1.default, (i, f1, t))
    opcheck(ops.warp_l1.warped, (i, f1, t), units)
    opcheck(ops.blend_warp.default, (i, [f1, f2], [l1, l2]))
    opcheck(ops.blend_warp_l1.default, (i, [f1, f2], [l1, l2], t))
    opcheck(ops.blend_warp_l1.warped, (i, [f1, f2], [l1, l2], t), units)
    opcheck(ops.run.default, ([i, f1, f2, l1, l2, t], 2, 2, "pixels", "reflection", True))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("last", [False, True])
def test_kernels_keep_their_promises(problem, dtype, last):
    image, flows, logits, target = problem((2, 3, 6, 8), image=dtype)
    if last:
        image = image.contiguous(memory_format=torch.channels_last)
    inputs = [image, *flows, *logits, target]
    options = "pixels", "zeros"
    opcheck(torch.ops.tcae_ops.warp_forward.default, (image, flows[0], *options))
    warped = tcae_ops.warp(image, flows[0])
    needs = dtype.is_floating_point, True
    opcheck(torch.ops.tcae_ops.warp_backward.default, (warped, image, flows[0], *options, *needs))
    options = 2, 2, "pixels", "border"
    opcheck(torch.ops.tcae_ops.forward.default, (inputs, *options, True))
    loss, warped = tcae_ops.blend_warp_l1(image, flows, logits, target, return_warped=True)
    needs = list(range(int(not dtype.is_floating_point), 5 + int(dtype.is_floating_point)))
    arguments = [loss, warped], True, inputs, *options, needs
    opcheck(torch.ops.tcae_ops.backward.default, arguments)
    opcheck(torch.ops.tcae_ops.backward_deterministic.default, arguments)


def test_operators_by_name_are_the_public_ones(problem):
    image, flows, logits, target = problem()
    ops = torch.ops.tcae_ops
    assert torch.equal(ops.warp(image, flows[0]), tcae_ops.warp(image, flows[0]))
    blended = tcae_ops.blend_warp_l1(image, flows, logits, target, units="normalized")
    named = ops.blend_warp_l1(image, flows, logits, target, units="normalized")
    assert torch.equal(named, blended)
    flow = flows[0].requires_grad_()
    ops.warp_l1(image, flow, target).sum().backward()
    named, flow.grad = flow.grad, None
    tcae_ops.warp_l1(image, flow, target).sum().backward()
    assert torch.equal(flow.grad, named)


def step(image, first, second, target):
    """Run every operator on a decoder's raw output, as in training."""
    flows, logits = [first[:, :2], second[:, :2]], [first[:, 2:], second[:, 2:]]
    loss, warped = tcae_ops.blend_warp_l1(image, flows, logits, target, return_warped=True)
    again = tcae_ops.warp(warped, torch.tanh(flows[0]), units="normalized", padding="zeros")
    blended = tcae_ops.blend_warp(again, flows, logits)
    return loss.mean() + tcae_ops.warp_l1(blended, flows[1], target).mean()


def loss_alone(image, first, second, target):
    """Run only our operators, so that Inductor has little to compile."""
    loss, warped = tcae_ops.blend_warp_l1(
        image,
        [first[:, :2], second[:, :2]],
        [first[:, 2], second[:, 2]],
        target,
        return_warped=True,
    )
    return loss.sum() + warped.sum()


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize(("compiler", "program"), [("aot_eager", step), ("inductor", loss_alone)])
def test_compiles_into_one_graph(compiler, program, dynamic):
    torch._dynamo.reset()
    compiled = torch.compile(program, fullgraph=True, dynamic=dynamic, backend=compiler)
    for n, h, w in ((2, 6, 8), (3, 10, 5)) if dynamic else ((2, 6, 8),):
        inputs = leaves([torch.rand(n, 3, h, w) for _ in range(4)])
        expected, got = program(*inputs), compiled(*inputs)
        torch.testing.assert_close(got, expected)
        pairs = torch.autograd.grad(got, inputs), torch.autograd.grad(expected, inputs)
        for a, b in zip(*pairs, strict=True):
            torch.testing.assert_close(a, b)


class Warp(torch.nn.Module):
    def forward(self, image, flow):
        return tcae_ops.warp(image, flow, padding="reflection")


def test_exports(problem):
    image, flows, _, _ = problem((2, 3, 6, 8))
    batch = torch.export.Dim("batch")
    shapes = {"image": {0: batch}, "flow": {0: batch}}
    program = torch.export.export(Warp(), (image, flows[0]), dynamic_shapes=shapes)
    other, flows, _, _ = problem((5, 3, 6, 8), seed=1)
    expected = tcae_ops.warp(other, flows[0], padding="reflection")
    assert torch.equal(program.module()(other, flows[0]), expected)
    lowered = program.run_decompositions()
    assert torch.equal(lowered.module()(other, flows[0]), expected)


def test_autocast_leaves_types_alone(problem):
    image, flows, logits, target = problem((1, 3, 6, 8))
    expected = tcae_ops.blend_warp_l1(image, flows, logits, target, return_warped=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = tcae_ops.blend_warp_l1(image, flows, logits, target, return_warped=True)
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


def test_inference_mode(problem):
    image, flows, _, _ = problem()
    expected = tcae_ops.warp(image, flows[0])
    with torch.inference_mode():
        assert torch.equal(tcae_ops.warp(image.clone(), flows[0]), expected)


def test_kernels_refuse_what_they_cannot_read():
    image, flow = torch.rand(1, 2, 4, 5), torch.rand(1, 2, 4, 5)
    forward = torch.ops.tcae_ops.forward.default
    pixels = "pixels", "border"
    # An empty batch, so that these planes take no memory.
    spread = [t[:0, :, :1, :1].expand(0, 2, 50000, 50000) for t in (image, flow)]
    bad = [
        ([image[0], flow], 1, 0, *pixels),
        ([image, flow[:, :, :0]], 1, 0, *pixels),
        ([image, flow, flow[:, :, 1:], flow[:, :1], flow[:, :1]], 2, 2, *pixels),
        ([image, flow, flow, flow[:, :1], flow[:, :1, 1:]], 2, 2, *pixels),
        ([image, flow, flow], 1, 1, *pixels),
        ([image, flow, flow], 2, 0, *pixels),
        ([image], 0, 0, *pixels),
        ([image], 1, 0, *pixels),
        ([image, flow], 2**62, 2**62, *pixels),
        ([image, flow, image, image], 1, 0, *pixels),
        ([image, flow.long()], 1, 0, *pixels),
        ([image.int(), flow], 1, 0, *pixels),
        ([image, flow, image[..., 1:]], 1, 0, *pixels),
        ([image, flow], 1, 0, "metres", "border"),
        ([image, flow], 1, 0, "pixels", "wrap"),
        ([image[..., :0], flow[..., :0]], 1, 0, *pixels),
        (spread, 1, 0, *pixels),
    ]
    for arguments in bad:
        with pytest.raises(RuntimeError, match=r"must|2\^31"):
            forward(*arguments, True)
    backward = torch.ops.tcae_ops.backward.default
    for upstream, by_loss, needs, said in [
        ([image], False, [2], "needs holds 2, but there are 2 inputs"),
        ([image], True, [1], "there must be a loss"),
        ([image[0]], False, [1], "the gradient of the warped image must have 4 dimensions"),
    ]:
        with pytest.raises(RuntimeError, match=said):
            backward(upstream, by_loss, [image, flow], 1, 0, *pixels, needs)
