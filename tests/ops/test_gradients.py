"""First and second gradients, and cases whose answer is known."""

import math

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

import tcae_ops
from tcae_ops.request import PADDINGS


def flat(image, flows, logits, target):
    return [image, *flows, *logits, target]


def objective(inputs, padding, backend, seed=0):
    """Compute a scalar that depends on the loss and on the warped image."""
    count = (len(inputs) - 2) // 2
    loss, warped = tcae_ops.blend_warp_l1(
        inputs[0],
        inputs[1 : 1 + count],
        inputs[1 + count : -1],
        inputs[-1],
        return_warped=True,
        padding=padding,
        backend=backend,
    )
    generator = torch.Generator(torch.get_default_device()).manual_seed(seed)
    weight = torch.randn(warped.shape, generator=generator, dtype=torch.float64)
    return loss.double().sum() + (warped.double() * weight).sum() / warped.shape[1:].numel()


def leaves(tensors):
    return [t.detach().requires_grad_(t.dtype.is_floating_point) for t in tensors]


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("units", ["pixels", "normalized"])
def test_gradcheck(backend, problem, padding, units):
    reach = 2.0 if units == "pixels" else 0.7
    image, flows, logits, target = problem(
        (1, 2, 2, 3), image=torch.float64, flow=torch.float64, reach=reach
    )
    chosen = {"padding": padding, "units": units, "backend": backend}

    def run(image, target, *fields):
        loss, warped = tcae_ops.blend_warp_l1(
            image, fields[:2], fields[2:], target, return_warped=True, **chosen
        )
        return loss, warped, tcae_ops.warp(image, fields[0], **chosen)

    inputs = leaves([image, target, *flows, *logits])
    # On a GPU atomics add in any order: the last bits differ. Stand-ins for GPUs are slow.
    options = {"nondet_tol": 1e-12, "fast_mode": backend in ("triton", "cuda_on_host")}
    assert gradcheck(run, inputs, **options)
    assert gradgradcheck(run, inputs, **options)


def test_outputs_that_nothing_depends_on(backend, problem):
    image, flows, _, target = problem()
    flow, target = flows[0].requires_grad_(), target.requires_grad_()
    _, warped = tcae_ops.warp_l1(image, flow, target, return_warped=True, backend=backend)
    by_flow, by_target = torch.autograd.grad(warped.sum(), (flow, target), allow_unused=True)
    alone = torch.autograd.grad(tcae_ops.warp(image, flow, backend=backend).sum(), flow)[0]
    torch.testing.assert_close(by_flow, alone)
    assert by_target is None or not by_target.any()


@pytest.mark.parametrize("padding", PADDINGS)
def test_nan_displacements(backend, padding):
    image = torch.rand(1, 2, 5, 6).requires_grad_()
    flow = torch.rand(1, 2, 5, 6)
    flow[0, 0, 2, 3] = math.nan
    flow[0, 1, 4, 4] = math.nan
    flow.requires_grad_()
    warped = tcae_ops.warp(image, flow, padding=padding, backend=backend)
    by_image, by_flow = torch.autograd.grad(warped.sum(), (image, flow))
    expected = [[0, c, y, x] for c in range(2) for y, x in ((2, 3), (4, 4))]
    assert by_flow.isnan().nonzero().tolist() == expected
    known = ~flow.detach().isnan().any(1, keepdim=True)
    clean = torch.where(known, flow.detach(), 0.0)
    without = tcae_ops.warp(image, clean, padding=padding, backend=backend) * known
    torch.testing.assert_close(by_image, torch.autograd.grad(without.sum(), image)[0])


@pytest.mark.parametrize("padding", PADDINGS)
def test_infinite_displacements(backend, padding):
    image = torch.rand(1, 1, 4, 5).requires_grad_()
    flow = torch.zeros(1, 2, 4, 5)
    flow[0, 0, 1, 1:3] = torch.tensor([math.inf, -math.inf])
    flow.requires_grad_()
    warped = tcae_ops.warp(image, flow, padding=padding, backend=backend)
    by_image, by_flow = torch.autograd.grad(warped.sum(), (image, flow))
    assert by_flow.isfinite().all()
    assert by_flow[0, 0, 1, 1:3].tolist() == [0, 0]
    kept = 20 - 2 * (padding == "zeros")
    assert math.isclose(by_image.sum().item(), kept, rel_tol=1e-6)


def test_derivatives_at_whole_pixels_are_those_of_the_cell_that_floor_picks(backend):
    image = torch.tensor([1.0, 4.0, 9.0, 16.0]).reshape(1, 1, 1, 4)
    cases = {
        # From left to right: the next difference; the last pixel's depends on the padding.
        "border": (0.0, [3.0, 5.0, 7.0, 0.0]),
        "zeros": (0.0, [3.0, 5.0, 7.0, -16.0]),
        "reflection": (0.0, [3.0, 5.0, 7.0, -7.0]),
    }
    for padding, (shift, expected) in cases.items():
        flow = torch.zeros(1, 2, 1, 4)
        flow[:, 0] = shift
        flow.requires_grad_()
        tcae_ops.warp(image, flow, padding=padding, backend=backend).sum().backward()
        assert flow.grad[0, 0, 0].tolist() == expected


def test_derivative_outside_the_border_is_zero(backend):
    image = torch.rand(1, 3, 6, 6)
    flow = torch.full((1, 2, 6, 6), 6.5).requires_grad_()
    tcae_ops.warp(image, flow, backend=backend).sum().backward()
    assert not flow.grad.any()


def test_sign_of_zero_is_zero(backend):
    image = torch.rand(1, 3, 8, 8)
    target, flow = image.clone().requires_grad_(), torch.zeros(1, 2, 8, 8).requires_grad_()
    tcae_ops.warp_l1(image, flow, target, backend=backend).sum().backward()
    assert not flow.grad.any()
    assert not target.grad.any()


@pytest.mark.parametrize("backend", ["cpp", "reference"], indirect=True)
def test_one_tensor_given_twice(backend, problem):
    image, flows, logits, _ = problem(image=torch.float64, flow=torch.float64)

    def run(image, flow, logit):
        return tcae_ops.blend_warp_l1(
            image, [flow, flow], [logit, logit * 2], image.flip(3), backend=backend
        )

    inputs = leaves([image, flows[0], logits[1]])
    assert gradcheck(
        lambda *t: tcae_ops.blend_warp_l1(t[0], [t[1]] * 2, [t[2]] * 2, t[0] * 2), inputs
    )
    assert gradcheck(run, inputs)
    assert gradgradcheck(run, inputs)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("shape", [(1, 3, 90, 110), (5, 2, 33, 70), (6, 3, 60, 128)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_same_bits_for_every_number_of_threads(cpp, problem, shape, dtype, padding):
    inputs = flat(*problem(shape, image=dtype, reach=30.0))
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 3, 7):
            torch.set_num_threads(count)
            own = leaves(inputs)
            value = objective(own, padding, "cpp")
            results.append([value.detach(), *torch.autograd.grad(value, own)])
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_an_empty_batch(backend, problem):
    own = leaves(flat(*problem((0, 3, 4, 5))))
    gradients = torch.autograd.grad(objective(own, "border", backend), own)
    assert [g.shape for g in gradients] == [t.shape for t in own]


@pytest.mark.parametrize("shift", [-9.0, 9.0])
def test_derivative_outside_the_border_is_zero_even_where_the_edge_is_infinite(backend, shift):
    image = torch.rand(1, 2, 4, 5)
    image[..., [0, -1]] = math.inf
    flow = torch.zeros(1, 2, 4, 5)
    flow[:, 0] = shift
    flow.requires_grad_()
    tcae_ops.warp(image, flow, backend=backend).sum().backward()
    assert not flow.grad[:, 0].any()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_gradients_of_half_images_are_rounded_once(cpp, dtype, layout):
    generator = torch.Generator().manual_seed(0)
    image, upstream = torch.rand(2, 6, 3, 60, 128, generator=generator).to(dtype)
    flow = 20 * torch.rand(6, 2, 60, 128, generator=generator) - 10

    def gradient(image):
        own = image.contiguous(memory_format=layout).requires_grad_()
        warped = tcae_ops.warp(own, flow)
        return torch.autograd.grad(warped, own, upstream.to(own.dtype))[0]

    assert torch.equal(gradient(image), gradient(image.float()).to(dtype))
