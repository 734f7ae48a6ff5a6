"""Any shape, layout, type, blend and displacement: hypothesis searches for differences."""

import math

import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import tcae_ops
from tcae_ops.request import PADDINGS

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
LAYOUTS = ["contiguous", "channels_last", "sliced", "stepped", "transposed", "expanded", "constant"]
# Sizes around what the kernels work on together, and small ones.
SIZES = st.one_of(st.integers(1, 9), st.sampled_from([15, 16, 17, 31, 33, 64, 255, 256, 257, 300]))


def explore(backend, **strategies):
    """Decorate a check that runs on many examples, for Triton on few: it is slow."""
    count = 8 if backend == "triton" else 60
    patient = [HealthCheck.too_slow]  # a busy machine is no failure
    options = settings(
        max_examples=count, deadline=None, database=None, suppress_health_check=patient
    )
    return lambda check: options(given(**strategies)(check))


@st.composite
def shapes(draw):
    n, c = draw(st.integers(0, 3)), draw(st.integers(1, 17))
    h, w = draw(SIZES), draw(SIZES)
    if n * c * h * w > 30000:
        n, c = min(n, 1), min(c, 2)
    return n, c, (9 if c * h * w > 30000 else h), w


def test_values_and_gradients(backend, problem, lay_out, agree):
    @explore(
        backend,
        shape=shapes(),
        count=st.integers(0, 10),
        image=st.sampled_from([torch.uint8, *FLOATS]),
        flow=st.sampled_from(FLOATS),
        layouts=st.tuples(*[st.sampled_from(LAYOUTS)] * 4),
        padding=st.sampled_from(PADDINGS),
        units=st.sampled_from(["pixels", "normalized"]),
        reach=st.sampled_from([0.0, 0.3, 3.0, 40.0]),
        seed=st.integers(0, 99),
        size=st.one_of(st.none(), st.tuples(SIZES, st.integers(1, 40))),
        alone=st.tuples(*[st.booleans()] * 4),
    )
    @example(  # two samples' gradients, each rounded to fp16, whose sum is smaller than either
        shape=(2, 8, 4, 64),
        count=2,
        image=torch.uint8,
        flow=torch.float16,
        layouts=("constant", "expanded", "contiguous", "constant"),
        padding="zeros",
        units="pixels",
        reach=3.0,
        seed=0,
        size=None,
        alone=(False, False, True, False),
    )
    def check(shape, count, image, flow, layouts, padding, units, reach, seed, size, alone):
        picture, flows, logits, target = problem(
            shape, max(count, 1), image, flow, reach, seed, size
        )
        logits = [logit.reshape(shape[0], 1, *shape[2:]) for logit in logits]
        if shape[0] < 2 or all(alone):  # one that is repeated for nobody, or by nobody
            alone = [False] * 4
        once = [slice(1) if it else slice(None) for it in alone]
        inputs = [
            lay_out(picture[once[0]], layouts[0]),
            *[lay_out(f[once[1]], layouts[1]) for f in flows],
            *[lay_out(k[once[2]], layouts[2])[:, 0] for k in logits[:count]],
            lay_out(target[once[3]], layouts[3]),
        ]
        if not count and all(alone[i] for i in (0, 1, 3)):
            shape = 1, *shape[1:]
        generator = torch.Generator(torch.get_default_device()).manual_seed(seed)
        scale = math.prod(shape[1:])
        upstream = [
            torch.randn(shape[0], generator=generator) * scale,
            lay_out(torch.randn(shape, generator=generator), layouts[0]),
        ]
        agree(inputs, count, upstream, {"units": units, "padding": padding}, backend)

    check()


WILD = [math.nan, math.inf, -math.inf, 1e300, -1e300, 3.4e38, -3.4e38, 2.0**31, -(2.0**31), 1e-300]


def test_nan_inf_and_far_outside(backend, problem, agree):
    @explore(
        backend,
        shape=shapes(),
        image=st.sampled_from([torch.uint8, *FLOATS]),
        flow=st.sampled_from(FLOATS),
        padding=st.sampled_from(PADDINGS),
        units=st.sampled_from(["pixels", "normalized"]),
        wild=st.lists(st.sampled_from(WILD), min_size=1, max_size=10),
        seed=st.integers(0, 99),
    )
    def check(shape, image, flow, padding, units, wild, seed):
        picture, flows, _, target = problem(shape, 1, image, flow, 0.6, seed)
        generator = torch.Generator(torch.get_default_device()).manual_seed(seed)
        values = torch.tensor(wild, dtype=torch.float64).to(flow)
        choice = torch.randint(8 * len(values), flows[0].shape, generator=generator)
        for i, value in enumerate(values):
            flows[0][choice == i] = value
        upstream = [torch.zeros(shape[0]), torch.randn(shape, generator=generator)]
        options = {"units": units, "padding": padding}
        if padding != "reflection":  # far outside, rounding decides where a position is mirrored to
            agree([picture, *flows, target], 0, upstream, options, backend)
        warped = tcae_ops.warp(picture, flows[0], **options, backend=backend)
        nan = flows[0].isnan().any(1, keepdim=True)
        pixels = picture.double() / (1 if image.is_floating_point else 255)
        slack = torch.finfo(warped.dtype).eps
        assert torch.equal(warped.isnan(), nan.expand_as(warped))
        if warped.numel() and padding != "zeros":
            known = warped[~warped.isnan()].double()
            assert (known >= pixels.min() - slack).all()
            assert (known <= pixels.max() + slack).all()

    check()
