"""What comes out: against loops, the definition, and cases whose answer is known."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tcae_ops
from tcae_ops import backends

PADDINGS = ["border", "zeros", "reflection"]
UNITS = ["pixels", "normalized"]
IMAGES = [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64]
LAYOUTS = ["contiguous", "channels_last", "sliced", "expanded", "transposed"]
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


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", IMAGES)
@pytest.mark.parametrize("flow", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_agrees_with_the_definition_in_every_layout_and_type(
    cpp, problem, lay_out, dtype, flow, layout
):
    image, flows, logits, target = problem((2, 3, 19, 33), image=dtype, flow=flow, reach=5.0)
    parts = [torch.cat([f, k.reshape(2, 1, 19, 33)], 1) for f, k in zip(flows, logits, strict=True)]
    parts = [lay_out(part, layout) for part in parts]  # flows and logits as slices of one output
    image, target = lay_out(image, layout), lay_out(target, layout)
    arguments = image, [p[:, :2] for p in parts], [p[:, 2] for p in parts], target
    expected = tcae_ops.blend_warp_l1(*arguments, return_warped=True, backend="reference")
    got = tcae_ops.blend_warp_l1(*arguments, return_warped=True, backend="cpp")
    for a, b in zip(got, expected, strict=True):
        assert a.dtype == b.dtype
        torch.testing.assert_close(a.double(), b.double(), rtol=0, atol=tolerance(dtype))


@pytest.mark.parametrize("count", [1, 3, 10])
def test_blends_any_number_of_flows(cpp, problem, count):
    image, flows, logits, _ = problem((1, 1, 30, 40), count=count)
    expected = tcae_ops.blend_warp(image, flows, logits, backend="reference")
    got = tcae_ops.blend_warp(image, flows, logits, backend="cpp")
    torch.testing.assert_close(got, expected, rtol=0, atol=3e-6)


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


def test_a_logit_of_minus_infinity_switches_a_flow_off(backend, problem):
    image, flows, logits, _ = problem()
    logits[0] = torch.full_like(logits[0], -math.inf)
    blended = tcae_ops.blend_warp(image, flows, logits, backend=backend)
    assert torch.equal(blended, tcae_ops.warp(image, flows[1], backend=backend))


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


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(0, 2), st.integers(1, 17), st.integers(1, 40), st.integers(1, 600)),
    count=st.integers(1, 4),
    image=st.sampled_from(IMAGES),
    padding=st.sampled_from(PADDINGS),
    units=st.sampled_from(UNITS),
    reach=st.sampled_from([0.1, 3.0, 1e3, 1e7]),
    seed=st.integers(0, 9),
)
def test_agrees_with_the_definition_for_any_shape(shape, count, image, padding, units, reach, seed):
    if backends.why_not("cpp", torch.device("cpu")):
        pytest.skip("the compiled library is not usable")
    generator = torch.Generator().manual_seed(seed)
    n, c, h, w = shape
    if c * h * w > 40000:
        h = 1
    values = torch.rand(n, c, h, w, generator=generator) * 255
    picture = values.to(image) if image == torch.uint8 else (values / 255).to(image)
    flows = [reach * torch.randn(n, 2, h, w, generator=generator) for _ in range(count)]
    logits = [torch.randn(n, h, w, generator=generator) for _ in range(count)]
    # In fp64 both see the same positions, however far outside.
    flows, logits = [f.double() for f in flows], [k.double() for k in logits]
    results = [
        tcae_ops.blend_warp_l1(
            picture,
            flows,
            logits,
            picture.flip(-1),
            units=units,
            padding=padding,
            backend=name,
            return_warped=True,
        )
        for name in ("cpp", "reference")
    ]
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a.double(), b.double(), rtol=0, atol=tolerance(image))
