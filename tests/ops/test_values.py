"""Results: against loops, and in cases whose answer is known."""

import math

import pytest
import torch

import tcae_ops
from tcae_ops.request import PADDINGS, UNITS

IMAGES = [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64]
# Results are rounded to the image's type; positions to fp32.
TOLERANCE = {torch.float16: 1e-3, torch.bfloat16: 8e-3, torch.float64: 1e-12}


def tolerance(dtype):
    return TOLERANCE.get(dtype, 3e-6)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("dtype", IMAGES)
def test_agrees_with_loops(backend, problem, truth, dtype, units, padding):
    image, flows, logits, target = problem(image=dtype, reach=3.0 if units == "pixels" else 0.8)
    options = {"units": units, "padding": padding, "backend": backend}
    loss, warped = truth(image, flows, logits, target, units, padding)
    got = tcae_ops.blend_warp_l1(image, flows, logits, target, return_warped=True, **options)
    torch.testing.assert_close(got[0].double(), loss, rtol=0, atol=1e-6)
    torch.testing.assert_close(got[1].double(), warped, rtol=0, atol=tolerance(dtype))
    assert torch.equal(got[1], tcae_ops.blend_warp(image, flows, logits, **options))
    assert torch.equal(got[0], tcae_ops.blend_warp_l1(image, flows, logits, target, **options))
    loss, warped = truth(image, flows[:1], [], target, units, padding)
    got = tcae_ops.warp_l1(image, flows[0], target, return_warped=True, **options)
    torch.testing.assert_close(got[0].double(), loss, rtol=0, atol=1e-6)
    torch.testing.assert_close(got[1].double(), warped, rtol=0, atol=tolerance(dtype))
    assert torch.equal(got[1], tcae_ops.warp(image, flows[0], **options))


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("dtype", IMAGES[1:])
def test_zero_flow_copies_the_image(backend, dtype, units, padding):
    image = torch.randn(2, 3, 9, 300).to(dtype)
    image[0, 0, 2, 3:6] = torch.tensor([math.inf, math.nan, -math.inf])
    flow = torch.zeros(2, 2, 9, 300)
    warped = tcae_ops.warp(image, flow, units=units, padding=padding, backend=backend)
    assert torch.equal(warped.nan_to_num(7), image.nan_to_num(7))
    assert torch.equal(warped.isinf(), image.isinf())
    blended = tcae_ops.blend_warp(
        image,
        [flow, flow],
        [torch.randn(2, 9, 300)] * 2,
        units=units,
        padding=padding,
        backend=backend,
    )
    assert torch.equal(blended.nan_to_num(7), image.nan_to_num(7))


def test_zero_flow_keeps_every_bit(cpp):
    image = torch.tensor([-0.0, 0.0, math.inf, 1e-45, -1.5]).reshape(1, 1, 1, 5)
    warped = tcae_ops.warp(image, torch.zeros(1, 2, 1, 5), backend="cpp")
    assert torch.equal(warped.view(torch.int32), image.view(torch.int32))


def test_zero_flow_reads_bytes_as_fractions_of_255(backend):
    image = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    warped = tcae_ops.warp(image, torch.zeros(1, 2, 16, 16), backend=backend)
    assert torch.equal(warped, image.float() / 255)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("shift", [(2, 0), (0, -3), (-4, 1)])
def test_whole_pixel_shifts_are_exact(backend, shift, padding):
    image = torch.randn(1, 2, 11, 13)
    flow = torch.tensor(shift, dtype=torch.float32).reshape(1, 2, 1, 1).expand(1, 2, 11, 13)
    warped = tcae_ops.warp(image, flow, padding=padding, backend=backend)
    mode = {"border": "replicate", "zeros": "constant", "reflection": "reflect"}[padding]
    padded = torch.nn.functional.pad(image, (4, 4, 4, 4), mode=mode)
    x, y = 4 + shift[0], 4 + shift[1]
    assert torch.equal(warped, padded[:, :, y : y + 11, x : x + 13])


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("channel", [0, 1])
def test_nan_and_infinite_displacements(backend, truth, padding, channel):
    image = torch.rand(1, 2, 4, 6)
    flow = torch.zeros(1, 2, 4, 6)
    flow[0, channel, 1, 1:5] = torch.tensor([math.nan, math.inf, -math.inf, 3.4e38])
    warped = tcae_ops.warp(image, flow, padding=padding, backend=backend)
    _, expected = truth(image, [flow], [], image, "pixels", padding)
    assert warped.isnan().nonzero().tolist() == [[0, c, 1, 1] for c in range(2)]
    torch.testing.assert_close(warped.double(), expected, rtol=0, atol=1e-6, equal_nan=True)
    loss = tcae_ops.warp_l1(image, flow, image, padding=padding, backend=backend)
    assert loss.isnan().all()


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("shape", [(1, 2, 1, 9), (1, 2, 9, 1), (1, 2, 1, 1)])
def test_infinite_displacements_along_an_axis_of_one_pixel(backend, truth, padding, shape):
    """In normalised units a finite displacement along such an axis moves nothing."""
    image = torch.rand(shape)
    flow = torch.zeros(1, 2, *shape[2:])
    flow[0, 0].view(-1)[0], flow[0, 1].view(-1)[-1] = math.inf, -math.inf
    flow[0, :, shape[2] // 2, shape[3] // 2] += 1e30 * torch.tensor([shape[3] == 1, shape[2] == 1])
    image.requires_grad_(), flow.requires_grad_()
    options = {"units": "normalized", "padding": padding}
    warped = tcae_ops.warp(image, flow, **options, backend=backend)
    _, expected = truth(image.detach(), [flow.detach()], [], image.detach(), **options)
    torch.testing.assert_close(warped.detach().double(), expected, rtol=0, atol=1e-6)
    by_image, by_flow = torch.autograd.grad(warped.sum(), (image, flow))
    assert not by_flow[flow.isinf()].any()
    far = flow.isinf().any(1).sum().item()
    kept = image.numel() - 2 * far * (padding == "zeros")
    assert math.isclose(by_image.sum().item(), kept, rel_tol=1e-6)


def test_a_logit_of_minus_infinity_switches_a_flow_off(backend, problem):
    image, flows, logits, _ = problem()
    logits[0] = torch.full_like(logits[0], -math.inf)
    blended = tcae_ops.blend_warp(image, flows, logits, backend=backend)
    assert torch.equal(blended, tcae_ops.warp(image, flows[1], backend=backend))


@pytest.mark.parametrize("left", range(4))
def test_all_flows_but_one_are_switched_off(backend, problem, left):
    image, flows, logits, _ = problem(count=4)
    off = [logit if k == left else logit - math.inf for k, logit in enumerate(logits)]
    blended = tcae_ops.blend_warp(image, flows, off, backend=backend)
    assert torch.equal(blended, tcae_ops.warp(image, flows[left], backend=backend))


@pytest.mark.parametrize("shape", [(0, 3, 4, 5), (1, 1, 1, 1), (2, 1, 1, 7), (1, 17, 6, 1)])
@pytest.mark.parametrize("padding", PADDINGS)
def test_degenerate_sizes(backend, problem, truth, shape, padding):
    image, flows, logits, target = problem(shape)
    for units in UNITS:
        got = tcae_ops.blend_warp_l1(
            image,
            flows,
            logits,
            target,
            return_warped=True,
            units=units,
            padding=padding,
            backend=backend,
        )
        expected = truth(image, flows, logits, target, units, padding)
        for a, b in zip(got, expected, strict=True):
            torch.testing.assert_close(a.double(), b, rtol=0, atol=1e-6)


def test_output_keeps_channels_last(backend, problem):
    image, flows, _, _ = problem()
    last = image.contiguous(memory_format=torch.channels_last)
    for dtype in (torch.float32, torch.uint8):
        warped = tcae_ops.warp(last.to(dtype), flows[0], backend=backend)
        assert warped.is_contiguous(memory_format=torch.channels_last)
        assert tcae_ops.warp(image.to(dtype), flows[0], backend=backend).is_contiguous()


@pytest.mark.parametrize("count", range(1, 11))
def test_blends_any_number_of_flows(backend, problem, truth, count):
    image, flows, logits, _ = problem((1, 2, 4, 6), count=count)
    _, expected = truth(image, flows, logits, image, "pixels", "reflection")
    got = tcae_ops.blend_warp(image, flows, logits, padding="reflection", backend=backend)
    torch.testing.assert_close(got.double(), expected, rtol=0, atol=3e-6)


def test_many_key_points_each_move_what_is_near_them(backend):
    # As in face animation: a displacement for each key point, weighted by the distance from it.
    points = torch.tensor([(8.0 + 16 * (k % 5), 8.0 + 16 * (k // 5)) for k in range(10)])
    moves = torch.tensor([(k - 4.0, k % 3 - 1.0) for k in range(10)])
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(80.0), indexing="ij")
    logits = [-((x - px) ** 2 + (y - py) ** 2)[None] for px, py in points]
    flows = [move.reshape(1, 2, 1, 1).expand(1, 2, 32, 80) for move in moves]
    image = torch.rand(1, 3, 32, 80)
    warped = tcae_ops.blend_warp(image, flows, logits, padding="reflection", backend=backend)
    for (px, py), (dx, dy) in zip(points.int().tolist(), moves.int().tolist(), strict=True):
        near = slice(py - 3, py + 4), slice(px - 3, px + 4)
        moved = slice(py - 3 + dy, py + 4 + dy), slice(px - 3 + dx, px + 4 + dx)
        if moved[1].start >= 0 and moved[1].stop <= 80:
            torch.testing.assert_close(
                warped[..., near[0], near[1]], image[..., moved[0], moved[1]]
            )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_halves_are_rounded_as_torch_rounds_them(backend, generator, deterministic, dtype):
    """They are computed in fp32 and rounded once: values of every size, from subnormal to inf."""
    deterministic(True)  # on a GPU sums are rounded in any order
    shape = (1, 1, 64, 300)
    low, high = (-24, 16) if dtype == torch.float16 else (-130, 120)
    exponents = low + (high - low) * torch.rand(2, *shape, generator=generator)
    image, upstream = (torch.randn(2, *shape, generator=generator) * exponents.exp2()).to(dtype)
    flow = torch.rand(1, 2, *shape[2:], generator=generator).to(dtype)
    results = []
    for kind in (dtype, torch.float32):
        inputs = [t.to(kind).requires_grad_() for t in (image, flow)]
        warped = tcae_ops.warp(*inputs, backend=backend)
        gradients = torch.autograd.grad(warped, inputs, upstream.to(kind))
        results.append([t.to(dtype) for t in (warped, *gradients)])
    for i, (a, b) in enumerate(zip(*results, strict=True)):
        if i == 1 and a.is_cuda:  # the image's gradient, summed in any order
            torch.testing.assert_close(a, b, equal_nan=True)
            continue
        assert torch.equal(a.isnan(), b.isnan())
        assert torch.equal(a[~a.isnan()].view(torch.int16), b[~b.isnan()].view(torch.int16))
    assert results[0][2].isinf().any()


def test_weights_are_right_however_far_logits_are_apart(backend):
    """The flow with the small weight is so large that it moves the sample by a pixel."""
    behind = torch.linspace(0, 80, 400)
    image = torch.arange(402.0).reshape(1, 1, 1, 402)
    flows = torch.zeros(2, 1, 2, 1, 402)
    flows[1, 0, 0, 0, :400] = behind.exp()
    logits = torch.zeros(2, 1, 1, 402)
    logits[0, 0, 0, :400] = behind
    warped = tcae_ops.blend_warp(image, list(flows), list(logits), backend=backend)
    double = flows[1, 0, 0, 0, :400].double() * torch.sigmoid(-behind.double())
    moved = (warped - image)[0, 0, 0, :400].double()
    torch.testing.assert_close(moved, double, rtol=0, atol=6e-5)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_logit_that_has_no_softmax_gives_nan(backend, problem, value):
    image, flows, logits, _ = problem((1, 2, 3, 20), count=3)
    for k in range(3):
        own = [logit.clone().reshape(1, 3, 20) for logit in logits]
        own[k][0, 1, 4] = value
        warped = tcae_ops.blend_warp(image, flows, own, backend=backend)
        assert warped.isnan().nonzero().tolist() == [[0, c, 1, 4] for c in range(2)]


def test_no_flow_is_left_where_all_logits_are_minus_infinity(backend, problem):
    image, flows, logits, _ = problem((1, 2, 3, 20))
    own = [logit.clone().reshape(1, 3, 20) for logit in logits]
    for logit in own:
        logit[0, 1, 4] = -math.inf
    warped = tcae_ops.blend_warp(image, flows, own, backend=backend)
    assert warped.isnan().nonzero().tolist() == [[0, c, 1, 4] for c in range(2)]


@pytest.mark.parametrize("which", range(6))
def test_one_fp64_argument_makes_everything_fp64(backend, problem, agree, which):
    image, flows, logits, target = problem((2, 3, 9, 20))
    inputs = [image, *flows, *logits, target]
    inputs[which] = inputs[which].double()
    upstream = [torch.ones(2), torch.rand(image.shape)]
    agree(inputs, 2, upstream, {"units": "pixels", "padding": "border"}, backend)
