"""The CUDA kernels on a CPU: what the case table of tests/ops does not test of them."""

import itertools

import pytest
import torch

import tcae_ops
from tcae_ops.selftest.agreement import agree
from tcae_ops.selftest.cases import CASES, make_inputs, random_inputs

CPU = torch.device("cpu")
# Every path through the kernels: working types, types with separate sums, whole groups of pixels.
WAYS = [
    (torch.uint8, "channels_last"),
    (torch.bfloat16, "sliced"),
    (torch.float32, "contiguous"),
    (torch.float64, "expanded"),
]


@pytest.fixture
def use(kernels_on_host, monkeypatch):
    """Function that makes backend "cpp" run the CUDA kernels of a flavour."""
    return lambda flavour: kernels_on_host(flavour).install(monkeypatch)


@pytest.mark.parametrize("is_deterministic", [False, True])
@pytest.mark.parametrize(("dtype", "layout"), WAYS, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_no_races(use, deterministic, name, dtype, layout, is_deterministic):
    use("races")
    deterministic(is_deterministic)
    case = CASES[name]
    inputs = make_inputs(case, dtype, layout, CPU)
    agree(inputs.all, case.count, inputs.upstream, case.options, "cpp")


def objective(inputs, count):
    loss, warped = tcae_ops.blend_warp_l1(
        inputs[0],
        inputs[1 : 1 + count],
        inputs[1 + count : -1],
        inputs[-1],
        return_warped=True,
        backend="cpp",
    )
    weight = torch.linspace(-1, 1, warped.numel(), dtype=warped.dtype).reshape(warped.shape)
    return loss.sum() * warped[:1].numel() + (warped * weight).sum()


def gradients(inputs, needs, count=2):
    own = [t.detach().requires_grad_(need) for t, need in zip(inputs, needs, strict=True)]
    return torch.autograd.grad(objective(own, count), [t for t in own if t.requires_grad])


def test_any_combination_of_gradients(use):
    use("memory")
    image, flows, logits, target = random_inputs(
        (2, 3, 9, 20), image=torch.float64, flow=torch.float64
    )
    inputs = [image, *flows, *logits, target]
    every = gradients(inputs, [True] * len(inputs))
    for needs in itertools.product([False, True], repeat=len(inputs)):
        if not any(needs):
            continue
        expected = [g for g, need in zip(every, needs, strict=True) if need]
        for a, b in zip(gradients(inputs, needs), expected, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_deterministic_gradients_are_the_same_bits_in_every_order(use, deterministic, dtype):
    use("plain")
    image, flows, logits, target = random_inputs((1, 3, 24, 24), image=dtype, reach=30.0)
    inputs = [image, *flows, *logits, target]
    distinct = {}
    for is_deterministic in (False, True):
        deterministic(is_deterministic)
        results = [gradients(inputs, [True] * len(inputs)) for _ in range(8)]
        distinct[is_deterministic] = [
            len({g.numpy().tobytes() for g in by_input}) for by_input in zip(*results, strict=True)
        ]
    assert distinct[True] == [1] * len(inputs)
    assert distinct[False][1:] == [1] * (len(inputs) - 1)
    assert distinct[False][0] > 1 or dtype == torch.float16  # which rounds the differences away


def test_loss_is_the_same_bits_in_every_order(use):
    use("plain")
    image, flows, logits, target = random_inputs((2, 3, 40, 70))
    losses = [tcae_ops.blend_warp_l1(image, flows, logits, target, backend="cpp") for _ in range(8)]
    assert all(torch.equal(loss, losses[0]) for loss in losses)


@pytest.mark.parametrize(
    ("dtype", "width"),
    [(torch.float32, 90), (torch.float32, 92), (torch.float64, 90)],  # 92: quads of two flows
    ids=str,
)
@pytest.mark.parametrize("count", range(1, 8))  # up to 5 fields are cached in shared memory
@pytest.mark.parametrize("flavour", ["memory", "races"])
def test_blends_that_are_cached_and_that_are_not(use, flavour, count, dtype, width):
    use(flavour)
    shape = 2, 2, 7, width
    image, flows, logits, target = random_inputs(shape, count, image=dtype, flow=dtype)
    inputs = [image, *flows, *logits, target]
    upstream = [torch.ones(2, dtype=dtype), torch.rand(shape, dtype=dtype)]
    agree(inputs, count, upstream, {"units": "pixels", "padding": "border"}, "cpp")


def skew(tensor, offset, gap):
    """Copy numbers to `offset` numbers into new memory, with `gap` numbers between rows."""
    n, c, h, w = tensor.shape
    memory = torch.zeros(offset + n * c * h * (w + gap), dtype=tensor.dtype)
    return memory[offset:].view(n, c, h, w + gap)[..., :w].copy_(tensor)


TYPES = [  # of images and of fields
    (torch.uint8, torch.float16),
    (torch.bfloat16, torch.bfloat16),
    (torch.float16, torch.float32),
    (torch.float32, torch.float32),
    (torch.float64, torch.float64),
]


def skewed(types, width, places):
    """Make inputs and gradients, each with its own offset and gap. Four channels are not common."""
    shape = 2, 4, 6, width
    image, flows, logits, target = random_inputs(shape, image=types[0], flow=types[1])
    logits = [k.reshape(2, 1, 6, width) for k in logits]
    tensors = [image, *flows, *logits, target, torch.rand(shape)]
    *inputs, by_warped = [skew(t, *place) for t, place in zip(tensors, places, strict=True)]
    return inputs, [torch.ones(2), by_warped]


OPTIONS = {"units": "pixels", "padding": "border"}


# In quads, in pairs, one by one.
@pytest.mark.parametrize(
    "place", [(0, 0), (4, 4), (2, 2), (0, 2), (1, 0), (0, 1), (1, 1), (1, 2)], ids=str
)
@pytest.mark.parametrize("types", TYPES)
def test_rows_that_are_and_that_are_not_aligned(use, types, place):
    use("memory")
    inputs, upstream = skewed(types, 8, [place] * 7)
    agree(inputs, 2, upstream, OPTIONS, "cpp")


@pytest.mark.parametrize("which", range(7))
@pytest.mark.parametrize("types", TYPES)
def test_one_tensor_that_is_not_aligned_for_quads(use, types, which):
    use("memory")
    inputs, upstream = skewed(types, 8, [(2 * (i == which), 0) for i in range(7)])
    agree(inputs, 2, upstream, OPTIONS, "cpp")


@pytest.mark.parametrize("width", [5, 6, 7])
@pytest.mark.parametrize("types", TYPES)
def test_rows_that_end_within_a_quad(use, types, width):
    use("memory")
    inputs, upstream = skewed(types, width, [(0, 8 - width)] * 7)
    agree(inputs, 2, upstream, OPTIONS, "cpp")
    # Warped images have no gaps between rows. Without one all rows begin as quads do.
    arguments = inputs[0], inputs[1:3], inputs[3:5], inputs[5]
    loss = tcae_ops.blend_warp_l1(*arguments, backend="cpp")
    expected = tcae_ops.blend_warp_l1(*arguments, backend="reference")
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("types", TYPES[1:])
def test_a_pixel_is_the_same_bits_in_quads_and_in_pairs(use, deterministic, types):
    use("plain")
    deterministic(True)
    in_quads, in_pairs = (skewed(types, 8, [place] * 7)[0] for place in ((0, 0), (2, 2)))
    warped = [
        tcae_ops.blend_warp(i[0], i[1:3], i[3:5], backend="cpp") for i in (in_quads, in_pairs)
    ]
    assert torch.equal(*warped)
    needs = [True] * len(in_quads)
    for a, b in zip(gradients(in_quads, needs), gradients(in_pairs, needs), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("flow", [torch.float16, torch.bfloat16], ids=str)
def test_fields_of_two_types(use, flow):
    use("memory")
    image, flows, logits, target = random_inputs((2, 3, 6, 8), image=flow, flow=flow)
    for i, other in ((0, flows), (1, logits)):
        other[i] = other[i].float()
        inputs = [image, *flows, *logits, target]
        agree(inputs, 2, [torch.ones(2), torch.rand(2, 3, 6, 8)], OPTIONS, "cpp")
