"""Gradients near the kinks: at whole pixels, and where samples equal the target.

There fp32 may land on the other side than fp64. Tests bound how often, and which gradients follow.
"""

import pytest
import torch
import torch.nn.functional as F

import tcae_ops
from tcae_ops.request import PADDINGS

SHAPE = (1, 3, 96, 128)


def smooth(channels, generator, reach):
    """Make a displacement of a few pixels that varies over tens of pixels."""
    coarse = reach * torch.randn(1, channels, 5, 6, generator=generator)
    return F.interpolate(coarse, SHAPE[2:], mode="bicubic", align_corners=True)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("units", ["pixels", "normalized"])
def test_ordinary_flows_rarely_meet_them(backend, generator, agree, padding, units):
    image, target = torch.rand(2, *SHAPE, generator=generator)
    fields = [smooth(2, generator, 4.0 if units == "pixels" else 0.08) for _ in range(2)]
    fields += [smooth(1, generator, 1.0) for _ in range(2)]
    upstream = [torch.full((1,), float(image.numel())), torch.randn(SHAPE, generator=generator)]
    options = {"units": units, "padding": padding}
    assert agree([image, *fields, target], 2, upstream, options, backend) < 2e-4


def by_flow(image, flow, padding, backend):
    flow = flow.detach().requires_grad_()
    warped = tcae_ops.warp(image, flow, padding=padding, backend=backend)
    return torch.autograd.grad(warped.sum(), flow)[0]


@pytest.mark.parametrize("padding", PADDINGS)
def test_near_whole_pixels_the_derivative_is_that_of_a_cell_next_to_it(backend, generator, padding):
    image = torch.rand(SHAPE, generator=generator)
    flow = torch.randint(-9, 10, (1, 2, *SHAPE[2:]), generator=generator)
    flow = flow + 4e-6 * (torch.rand(flow.shape, generator=generator) - 0.5)
    got = by_flow(image, flow, padding, backend).double()
    wide = image.double(), flow.double()
    truth = by_flow(*wide, padding, "reference")
    sides = torch.tensor([(x, y) for x in (-1e-5, 1e-5) for y in (-1e-5, 1e-5)])
    cells = [
        by_flow(wide[0], wide[1] + side[:, None, None], padding, "reference") for side in sides
    ]
    nearest = torch.stack([(got - cell).abs().amax(1) for cell in cells]).amin(0)
    assert nearest.max() < 1e-3
    flipped = (got - truth).abs().amax(1) > 1e-3
    assert 0.01 < flipped.double().mean() < 0.6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_samples_that_are_the_target_give_no_gradient_at_all(backend, problem, dtype):
    image, flows, logits, _ = problem((2, 3, 9, 300), image=dtype)
    target = tcae_ops.blend_warp(image, flows, logits, backend=backend)
    inputs = [t.requires_grad_() for t in (image, *flows, *logits, target)]
    loss = tcae_ops.blend_warp_l1(image, flows, logits, target, backend=backend)
    gradients = torch.autograd.grad(loss.sum(), inputs)
    assert not loss.any()
    assert not any(g.any() for g in gradients)


def test_next_to_the_target_the_derivative_is_one_of_three(backend, problem):
    image, flows, _, _ = problem((1, 3, 40, 60))
    exact = tcae_ops.warp(image.double(), flows[0].double(), backend="reference")
    target = exact.float().requires_grad_()  # rounded up or down, at random
    tcae_ops.warp_l1(image, flows[0], target, backend=backend).sum().backward()
    step = 1 / image.numel()
    sides = target.grad / step
    torch.testing.assert_close(sides, sides.round(), rtol=0, atol=1e-5)
    assert sides.abs().max() <= 1 + 1e-5
    far = (target.detach() - exact).abs() > 1e-5
    assert not far.any()
