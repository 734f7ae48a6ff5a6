"""Every instruction set of the machine is right at every width, and agrees with the others."""

import math
import os
import subprocess
import sys

import pytest
import torch

import tcae_ops
from tcae_ops import library
from tcae_ops.request import PADDINGS

pytestmark = pytest.mark.usefixtures("cpp")
SHAPES = [(1, 3, 4, w) for w in range(1, 71)] + [(2, 1, 40, 37), (1, 4, 9, 300), (1, 5, 33, 64)]


def smooth(shape, seed, reach=4.0):
    """Make flows that vary slowly, so that windows are used."""
    n, _, h, w = shape
    coarse = torch.randn(n, 2, 3, 3, generator=torch.Generator().manual_seed(seed))
    grown = torch.nn.functional.interpolate(coarse, size=(h, w), mode="bilinear")
    return (reach * grown).contiguous()


def inputs(shape, dtype, layout, rough):
    generator = torch.Generator().manual_seed(shape[-1])
    n, _, h, w = shape
    image, target = torch.rand(2, *shape, generator=generator)
    image = image.contiguous(memory_format=layout)
    if not dtype.is_floating_point:
        image = image * 255
    flows = [smooth(shape, seed) for seed in (1, 2)]
    if rough:
        flows = [f + 40 * torch.rand(n, 2, h, w, generator=generator) - 20 for f in flows]
    logits = list(torch.randn(2, n, 1, h, w, generator=generator))
    return [image.to(dtype), *flows, *logits, target]


def exact(arguments):
    """Change displacements so that neither blending nor adding a pixel rounds them in fp32."""
    image, first, second, logit, _, target = arguments
    first, second = ((256 * flow).round() / 256 for flow in (first, second))
    # Weights of 1/2, or of 1 and 0: exp(-200) is far below what fp32 can add to 1.
    chosen = torch.randint(3, logit.shape, generator=torch.Generator().manual_seed(7))
    lower, other = ((logit - 200 * (chosen == k)) for k in (1, 2))
    return [image, first, second, lower, other, target]


def everything(arguments, padding, backend="cpp"):
    """Return the results, and the gradient of every input that has one."""
    own = [t.detach().requires_grad_(t.dtype.is_floating_point) for t in arguments]
    loss, warped = tcae_ops.blend_warp_l1(
        own[0], own[1:3], own[3:5], own[5], return_warped=True, padding=padding, backend=backend
    )
    weight = torch.linspace(-1, 1, warped.numel()).reshape(warped.shape)
    value = loss.sum() + (warped * weight).sum()
    wanted = [t for t in own if t.requires_grad]
    return [loss.detach(), warped.detach(), *torch.autograd.grad(value, wanted)]


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("rough", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_right_at_every_width(level, padding, rough, layout):
    for shape in SHAPES:
        # Rounding a position to fp32 moves it by up to 2e-5 at a width of 300, and gradients by far
        # more than errors of arithmetic do. Where nothing is rounded, fp64 finds the same cells.
        arguments = exact(inputs(shape, torch.float32, layout, rough))
        got = everything(arguments, padding)
        truth = everything([t.double() for t in arguments], padding, "reference")
        for a, b in zip(got, truth, strict=True):
            torch.testing.assert_close(a.double(), b, rtol=2e-6, atol=5e-6)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64]
)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_levels_agree(level, padding, dtype, layout):
    for shape in ((2, 3, 24, 64), (1, 3, 7, 45), (1, 3, 5, 20)):
        for rough in (False, True):
            arguments = inputs(shape, dtype, layout, rough)
            got = everything(arguments, padding)
            with library.simd_level("portable"):
                expected = everything(arguments, padding)
            for a, b in zip(got, expected, strict=True):
                torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("width", [5, 20, 33, 70])
def test_nan_and_infinity(level, padding, width):
    image, flow = inputs((1, 3, 12, width), torch.float32, torch.contiguous_format, False)[:2]
    image[0, 1, 5, ::3] = math.nan
    image[0, 2, 6, ::4] = math.inf
    whole = flow.round()  # pixels next to those read have no weight
    broken = flow.clone()
    broken[0, 0, 2, 1], broken[0, 1, 3, 2] = math.nan, math.nan
    broken[0, 0, 4, 1], broken[0, 1, 4, 3] = math.inf, -math.inf
    for displacement in (whole, broken):
        got = tcae_ops.warp(image, displacement, padding=padding)
        expected = tcae_ops.warp(image, displacement, padding=padding, backend="reference")
        torch.testing.assert_close(got, expected, rtol=0, atol=3e-6, equal_nan=True)


def test_a_level_that_is_not_there_is_refused():
    before = torch.ops.tcae_ops.simd_level()
    with (
        pytest.raises(ValueError, match="'sse', but this machine can run"),
        library.simd_level("sse"),
    ):
        pass
    with library.simd_level("portable"):
        assert torch.ops.tcae_ops.simd_level() == "portable"
    assert torch.ops.tcae_ops.simd_level() == before


@pytest.mark.parametrize(
    ("value", "said"), [("portable", "portable\n"), ("sse9", "is 'sse9', but")]
)
def test_the_environment_forces_a_level(value, said):
    program = "import torch, tcae_ops; print(torch.ops.tcae_ops.simd_level())"
    environment = {**os.environ, "TCAE_OPS_SIMD": value}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert said in done.stdout + done.stderr
