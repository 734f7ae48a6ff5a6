"""What only a GPU has: its memory, devices and clock, and torch's tools on its tensors."""

import pytest
import torch
from torch.library import opcheck

import tcae_ops
from tcae_ops.selftest.agreement import agree, apply, differentiate
from tcae_ops.selftest.cases import Case, make_inputs, random_inputs
from tcae_ops.selftest.checks import CROWDED
from tcae_ops.selftest.places import GPU, Place, why_not

pytestmark = pytest.mark.gpu
PASSES = ["forward", "backward", "run"]
TWIN = Case((2, 3, 19, 33), units="normalized", reach=0.2)


def twin(dtype=torch.float32, device=GPU):
    return make_inputs(TWIN, dtype, "contiguous", device)


def options(place):
    return {**TWIN.options, "backend": place.backend}


def need_memory(gibibytes):
    free, _ = torch.cuda.mem_get_info()
    if free < gibibytes * 2**30:
        pytest.skip(f"{free >> 30} GiB of the GPU's memory are free, {gibibytes} are needed")


@pytest.mark.parametrize("axis", [0, 1])
def test_planes_further_apart_than_32_bits(place, axis):
    need_memory(8)
    stride = 2**31 + 64
    near, flows, _, target = random_inputs((2, 2, 5, 20), 1, torch.uint8, torch.float16)
    inputs = [near.to(GPU), flows[0].to(GPU), target.to(GPU)]
    far = []
    for t in inputs[:2]:
        whole = torch.empty(stride + 2 * t.numel(), dtype=t.dtype, device=GPU)
        strides = [stride if i == axis else s for i, s in enumerate(t.stride())]
        far.append(whole.as_strided(t.shape, strides).copy_(t))
    upstream = [torch.ones(2, device=GPU), torch.ones(near.shape, device=GPU)]
    given = {"units": "pixels", "padding": "border", "backend": place.backend}
    expected = differentiate(inputs, 0, upstream, given)
    got = differentiate([*far, inputs[2]], 0, upstream, given)
    assert torch.equal(got.loss, expected.loss)
    assert torch.equal(got.warped, expected.warped)
    assert torch.equal(got.gradients[1], expected.gradients[1])


def test_more_pixels_than_32_bits_count(place):
    """More than 2^31 pixels. Only of the image is more than one sample in memory."""
    need_memory(9 if place.backend != "reference" else 150)
    image = torch.zeros(33, 1, 8192, 8192, dtype=torch.uint8, device=GPU)
    image[-1] = torch.arange(8192, device=GPU)
    flow = torch.zeros(1, 2, 8192, 8192, dtype=torch.float16, device=GPU)
    flow[:, 0] = 1.0
    loss = tcae_ops.warp_l1(
        image, flow.expand(33, -1, -1, -1), image[:1].expand_as(image), backend=place.backend
    )
    assert not loss[:-1].any()
    shifted = (torch.arange(8192) + 1).clamp(max=8191) % 256 / 255
    assert loss[-1].item() == pytest.approx(shifted.double().mean().item(), rel=1e-5)


def test_nothing_waits_for_the_gpu(place):
    inputs = twin()
    differentiate(inputs.all, 2, inputs.upstream, options(place))
    torch.cuda.set_sync_debug_mode("error")
    try:
        differentiate(inputs.all, 2, inputs.upstream, options(place))
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_memory_beyond_the_results_is_small(place):
    if place.backend == "reference":
        pytest.skip("the definition is not written to be lean")
    inputs = make_inputs(Case((8, 3, 256, 256)), torch.float32, "contiguous", GPU)
    given = {"units": "pixels", "padding": "border", "backend": place.backend}

    def extra():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        results = differentiate(inputs.all, 2, inputs.upstream, given)
        kept = [results.loss, results.warped, *results.gradients]
        return torch.cuda.max_memory_allocated() - before - sum(t.nbytes for t in kept)

    extra()  # libraries are loaded, kernels compiled
    assert extra() < 0.05 * inputs.image.nbytes


def test_the_image_gradient_in_a_fixed_order_is_the_same_gradient(place):
    inputs = make_inputs(CROWDED, torch.float32, "contiguous", GPU)
    torch.use_deterministic_algorithms(True)
    try:
        agree(inputs.all, CROWDED.count, inputs.upstream, CROWDED.options, place.backend)
    finally:
        torch.use_deterministic_algorithms(False)


def test_tensors_on_a_device_that_is_not_the_current_one(place):
    if torch.cuda.device_count() < 2:
        pytest.skip("there is one CUDA device only")
    inputs = twin(device=torch.device("cuda", 1))
    with torch.cuda.device(0):
        agree(inputs.all, 2, inputs.upstream, TWIN.options, place.backend)
        assert torch.cuda.current_device() == 0


def test_tensors_on_two_devices_are_refused(place):
    inputs = twin()
    with pytest.raises(ValueError, match="target is on cpu, but must be where the image is"):
        apply([*inputs.all[:-1], inputs.target.cpu()], 2, options(place))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_leaves_types_alone(place, dtype):
    inputs = twin()
    expected = apply(inputs.all, 2, options(place))
    with torch.autocast("cuda", dtype=dtype):
        got = apply(inputs.all, 2, options(place))
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


def test_inference_mode(place):
    inputs = twin()
    expected = apply(inputs.all, 2, options(place))
    with torch.inference_mode():
        got = apply([t.clone() for t in inputs.all], 2, options(place))
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_into_one_graph(place, dynamic):
    """As in the self-test, and also with sizes that change."""
    if place.backend == "reference":
        pytest.skip("these are plain torch operators")

    def program(*tensors):
        loss, warped = apply(tensors, 2, options(place))
        return loss.sum() + warped.square().mean()

    torch.compiler.reset()
    compiled = torch.compile(program, fullgraph=True, dynamic=dynamic)
    for shape in ((2, 3, 6, 8), (3, 3, 10, 5)) if dynamic else ((2, 3, 6, 8),):
        inputs = make_inputs(Case(shape), torch.float32, "contiguous", GPU)
        own = [t.detach().clone().requires_grad_() for t in inputs.all]
        pairs = []
        for run in (program, compiled):
            value = run(*own)
            pairs.append([value, *torch.autograd.grad(value, own)])
        for a, b in zip(*pairs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bfloat16, torch.float32])
@pytest.mark.parametrize(("backend", "suffix"), [("cuda", ""), ("triton", "_triton")])
def test_kernels_keep_their_promises(dtype, backend, suffix):
    place = Place(backend, GPU)
    if why_not(place) is not None:
        pytest.skip(why_not(place))
    ops = {name: getattr(torch.ops.tcae_ops, name + suffix).default for name in PASSES}
    inputs = twin(dtype)
    given = 2, 2, "normalized", "border"
    opcheck(ops["forward"], (inputs.all, *given, True))
    loss, warped = apply(inputs.all, 2, options(place))
    needs = list(range(int(dtype == torch.uint8), 5 + int(dtype != torch.uint8)))
    arguments = [loss, warped], True, inputs.all, *given, needs
    opcheck(ops["backward"], arguments)
    fields = [t.requires_grad_() for t in (*inputs.flows, *inputs.logits)]
    opcheck(ops["run"], ([inputs.image, *fields, inputs.target], *given, True))
