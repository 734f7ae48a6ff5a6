"""The CUDA kernels for common calls, on a CPU: which calls they serve, and what they compute."""

import itertools
import mmap
import re

import pytest
import torch
from binaries import COMMON, common

import tcae_ops
from tcae_ops.selftest.agreement import agree, differentiate
from tcae_ops.selftest.cases import Case, make_inputs, random_inputs

CPU = torch.device("cpu")
NAMES = {torch.float32: "float", torch.float16: "Half", torch.bfloat16: "BFloat16"}
TYPES = [  # of images and fields
    *((torch.float32, field) for field in NAMES),
    (torch.float16, torch.float16),
    (torch.bfloat16, torch.bfloat16),
]
COUNTS = [0, 2]  # flows that are blended
PIXELS = {"units": "pixels", "padding": "border"}


@pytest.fixture
def kernels(kernels_on_host, monkeypatch):
    """The kernels, in place of backend "cpp" and watched by sanitizers."""
    them = kernels_on_host("memory")
    them.install(monkeypatch)
    them.launched.clear()
    return them


def facts(kernels):
    """Return what the kernels of forward and backward passes knew of their calls."""
    found = set()
    for call, parameters in kernels.launched:
        own = re.search(r"Arguments<([^;]*?)>\s*\}", parameters)
        if own:
            found.add((call, re.sub(r"\w+::", "", own[1]).strip()))
    return found


def test_every_kernel_has_a_call():
    of_calls = [
        common(NAMES[image], NAMES[field], max(count, 1), compared)
        for (image, field), count, compared in itertools.product(TYPES, COUNTS, (False, True))
    ]
    assert sorted(of_calls) == sorted(COMMON)


@pytest.mark.parametrize("wanted", ["warped", "loss", "both"])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("types", TYPES, ids=str)
def test_every_kernel_agrees_with_the_definition(kernels, types, count, layout, wanted):
    case = Case((2, 3, 9, 20), count=count, flow=types[1])
    inputs = make_inputs(case, types[0], layout, CPU)
    by_loss, by_warped = inputs.upstream
    upstream = [by_loss if wanted != "warped" else None, by_warped if wanted != "loss" else None]
    agree(inputs.all, count, upstream, case.options, "cpp")
    known = common(*(NAMES[t] for t in types), max(count, 1), wanted != "warped")
    assert facts(kernels) == {("forward", known), ("backward", known)}


def bits(inputs, count, upstream):
    """Return results and gradients of the image's first three channels, the flows and logits."""
    found = differentiate(inputs, count, upstream, {**PIXELS, "backend": "cpp"})
    image, *fields = found.gradients[: 1 + max(count, 1) + count]
    return [*(t[:, :3] for t in (found.warped, image)), *fields]


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("types", TYPES, ids=str)
def test_a_pixel_is_the_same_bits_in_a_call_that_is_not_common(
    kernels, deterministic, types, count
):
    """A fourth channel of zeros changes nothing but the kernel."""
    deterministic(True)
    shape, options = (2, 3, 9, 20), {"image": types[0], "flow": types[1]}
    image, flows, logits, target = random_inputs(shape, max(count, 1), **options, reach=9.0)
    fields = [*flows, *logits[:count]]
    fields[0][0, 0, 3, 4] = torch.nan
    fields[0][1, :, 2] = torch.inf
    three = [image, *fields, target]
    four = [torch.cat([t, 0 * t[:, :1]], 1) if t is image or t is target else t for t in three]
    by_warped = torch.rand(shape)
    with_zeros = torch.cat([by_warped, torch.zeros(2, 1, 9, 20)], 1)
    # A loss is the mean over the channels: this makes it the sum over them.
    results = [
        bits(inputs, count, [torch.full((2,), float(channels * 256)), by])
        for inputs, channels, by in ((three, 3, by_warped), (four, 4, with_zeros))
    ]
    for a, b in zip(*results, strict=True):
        assert torch.equal(a.nan_to_num(7), b.nan_to_num(7))
    assert {known.partition("<")[0] for _, known in facts(kernels)} == {"Common", "Anything"}


@pytest.mark.parametrize("image", [False, True])
@pytest.mark.parametrize("target", [False, True])
def test_gradients_of_image_and_target_only_if_needed(kernels, deterministic, image, target):
    deterministic(True)
    picture, flows, logits, goal = random_inputs((2, 3, 6, 8))
    results = []
    for needs in ((True, True), (image, target)):
        fields = [t.detach().requires_grad_() for t in (*flows, *logits)]
        own = [t.detach().requires_grad_(n) for t, n in zip((picture, goal), needs, strict=True)]
        loss = tcae_ops.blend_warp_l1(own[0], fields[:2], fields[2:], own[1], backend="cpp").sum()
        wanted = [t for t in own if t.requires_grad]
        results.append(torch.autograd.grad(loss, [*fields, *wanted]))
    every, some = results
    kept = [*every[:4], *itertools.compress(every[4:], (image, target))]
    assert all(torch.equal(a, b) for a, b in zip(some, kept, strict=True))
    assert {known for _, known in facts(kernels)} == {common("float", "float", 2, True)}


def far_apart(tensor):
    """Copy samples to places 2^31 elements apart, in memory that is only addressed."""
    n, *shape = tensor.shape
    size = (n - 1) * 2**31 + tensor[0].numel()
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000  # reserves nothing
    memory = torch.frombuffer(mmap.mmap(-1, 4 * size, flags=flags), dtype=tensor.dtype)
    strides = tensor[0].contiguous().stride()
    return memory.as_strided((n, *shape), (2**31, *strides)).copy_(tensor)


# Calls that miss being common in one way each. Without a padding it is "border".
UNCOMMON = {
    "another padding": lambda image, flow: (image, flow, "zeros"),
    "four channels": lambda image, flow: (torch.cat([image, image[:, :1]], 1), flow),
    "bytes": lambda image, flow: ((255 * image).byte(), flow),
    "fields of fp32 and an image of fp16": lambda image, flow: (image.half(), flow),
    "one column": lambda image, flow: (image[..., :1].contiguous(), flow),
    "one row": lambda image, flow: (image[:, :, :1].contiguous(), flow),
    "image beyond 32 bits": lambda image, flow: (far_apart(image), flow),
    "flow beyond 32 bits": lambda image, flow: (image, far_apart(flow)),
}


@pytest.mark.parametrize("change", UNCOMMON.values(), ids=UNCOMMON)
def test_calls_that_are_not_common(kernels, change):
    image, (flow,), _, _ = random_inputs((2, 3, 6, 8), 1)
    image, flow, *padding = change(image, flow)
    options = {"units": "normalized", "padding": (*padding, "border")[0]}
    warped = tcae_ops.warp(image, flow, **options, backend="cpp")
    expected = tcae_ops.warp(image, flow, **options, backend="reference")
    torch.testing.assert_close(warped, expected, rtol=0, atol=2e-3)
    assert all(known.startswith("Anything") for _, known in facts(kernels))


def test_fields_and_targets_of_other_types_and_other_counts_are_not_common(kernels):
    image, flows, logits, target = random_inputs((2, 3, 6, 8), 3)
    options = {"units": "pixels", "backend": "cpp"}
    tcae_ops.blend_warp(image, flows, logits, **options)
    tcae_ops.blend_warp(image, flows[:1], logits[:1], **options)
    tcae_ops.blend_warp(image, [flows[0], flows[1].half()], logits[:2], **options)
    tcae_ops.warp_l1(image, flows[0], target.half(), **options)
    flows[0].requires_grad_()
    two = tcae_ops.blend_warp(image, flows[:2], logits[:2], **options)
    kernels.launched.clear()  # forward it was common
    two.sum().backward()  # but not all gradients of its fields are wanted
    assert all(known.startswith("Anything") for _, known in facts(kernels))
