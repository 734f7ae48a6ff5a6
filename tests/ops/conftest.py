"""An independent statement of what the operators compute: plain loops over Python floats."""

import itertools
import math
from contextlib import nullcontext

import pytest
import torch

from tcae_ops import backends, library
from tcae_ops.selftest import agreement, cases
from tcae_ops.selftest.places import CPU, GPU, Place, devices, why_not


def fold(position, size, padding):
    """Fold a position into the image. Return None if only zeros are there."""
    last = size - 1
    if padding == "border":
        return min(max(position, 0.0), float(last))
    if padding == "zeros":
        return position if -1 < position < size else None
    if padding != "reflection":
        raise ValueError(f"the loops do not know padding {padding!r}")
    if math.isinf(position) or last == 0:
        return float(last) if position > 0 else 0.0
    position = math.fmod(abs(position), 2 * last)
    return 2 * last - position if position > last else position


def sample(plane, x, y, padding):
    """Return the bilinear sample of one plane (a list of rows) at a position."""
    if math.isnan(x) or math.isnan(y):
        return math.nan
    height, width = len(plane), len(plane[0])
    x, y = fold(x, width, padding), fold(y, height, padding)
    if x is None or y is None:
        return 0.0
    value = 0.0
    for i, j in itertools.product(
        (math.floor(y), math.floor(y) + 1), (math.floor(x), math.floor(x) + 1)
    ):
        weight = (1 - abs(y - i)) * (1 - abs(x - j))
        if weight > 0 and 0 <= i < height and 0 <= j < width:
            value += weight * plane[i][j]
    return value


def times(displacement, unit):
    """Multiply. An infinite displacement stays infinite in every unit, even in one of length 0."""
    return displacement if math.isinf(displacement) else displacement * unit


def loops(image, flows, logits, target, units, padding):
    """Compute the loss (N,) and the warped image in fp64, pixel by pixel."""
    image, target = image.cpu(), target.cpu()
    flows, logits = [flow.cpu() for flow in flows], [logit.cpu() for logit in logits]
    c, height, width = image.shape[1:]
    h, w = flows[0].shape[2:]
    n = next((len(t) for t in (image, *flows, *logits, target) if len(t) != 1), 1)
    image, target = (t.expand(n, *t.shape[1:]) for t in (image, target))
    flows = [flow.expand(n, 2, h, w) for flow in flows]
    logits = [logit.reshape(-1, h, w).expand(n, h, w) for logit in logits]
    pixels = image.double() / (1 if image.dtype.is_floating_point else 255)
    goal = target.double() / (1 if target.dtype.is_floating_point else 255)
    warped = torch.empty(n, c, h, w, dtype=torch.float64, device=CPU)
    scale = ((width - 1) / 2, (height - 1) / 2) if units == "normalized" else (1.0, 1.0)
    for b, y, x in itertools.product(range(n), range(h), range(w)):
        weights = [1.0]
        if logits:
            powers = [math.exp(float(logit[b, y, x])) for logit in logits]
            weights = [p / sum(powers) for p in powers]
        dx, dy = (
            sum(
                weight * float(flow[b, axis, y, x])
                for weight, flow in zip(weights, flows, strict=True)
            )
            for axis in (0, 1)
        )
        for k in range(c):
            plane = pixels[b, k].tolist()
            warped[b, k, y, x] = sample(
                plane, x + times(dx, scale[0]), y + times(dy, scale[1]), padding
            )
    loss = (warped - goal).abs().mean((1, 2, 3))
    return tuple(t.to(torch.get_default_device()) for t in (loss, warped))


# Backends for CUDA tensors only take part if there is a GPU: otherwise thousands of tests would be
# skipped. Triton runs on the GPU, or else in its interpreter.
PLACES = {name: Place(name, CPU) for name in ("cpp", "reference")}
if GPU not in devices():
    PLACES["triton"] = Place("triton", CPU)
else:
    PLACES |= {f"gpu_{name}": Place(name, GPU) for name in backends.BACKENDS if name != "cpp"}


def _parameters():
    for name in (*PLACES, "cuda_on_host"):
        yield pytest.param(name, marks=[pytest.mark.gpu] * name.startswith("gpu_"))


@pytest.fixture(params=library.SIMD_LEVELS)
def level(request):
    """Each instruction set that this machine can run, in use."""
    try:
        with library.simd_level(request.param):
            yield request.param
    except ValueError as error:
        pytest.skip(str(error))


@pytest.fixture(params=_parameters())
def backend(request, monkeypatch):
    """The name of each backend. The tensors that a test makes are on its device.

    `cuda_on_host` gives the name of the C++ backend, but the CUDA kernels run in its place.
    """
    if request.param == "cuda_on_host":
        request.getfixturevalue("kernels_on_host")("memory").install(monkeypatch)
        yield "cpp"
        return
    place = PLACES[request.param]
    reason = why_not(place)
    if reason is not None:
        pytest.skip(f"backend {place}: {reason}")
    if place.backend == "triton" and place.device == CPU:
        request.getfixturevalue("interpreter")
    with torch.device(place.device) if place.device == GPU else nullcontext():
        yield place.backend


@pytest.fixture
def cpp():
    """Skips tests of the compiled library if it is not here."""
    reason = backends.why_not("cpp", torch.device("cpu"))
    if reason is not None:
        pytest.skip(f"backend cpp: {reason}")


@pytest.fixture
def truth():
    """The loops."""
    return loops


@pytest.fixture
def lay_out():
    """Function that copies a tensor (N, C, H, W) into another memory layout."""
    return cases.lay_out


@pytest.fixture
def problem():
    """Function that makes inputs of all operators on the backend's device."""

    def make(*shape, **options):
        device = torch.get_default_device()
        image, flows, logits, target = cases.random_inputs(*shape, **options)
        fields = [[t.to(device) for t in tensors] for tensors in (flows, logits)]
        return image.to(device), *fields, target.to(device)

    return make


@pytest.fixture
def generator(backend):
    """Generator of random numbers on the backend's device, always the same."""
    return torch.Generator(torch.get_default_device()).manual_seed(0)


@pytest.fixture
def agree():
    """Function that compares values and gradients with the definition in fp64."""
    return agreement.agree
