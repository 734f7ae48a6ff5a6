"""An independent statement of what the operators compute: plain loops over Python floats."""

import itertools
import math

import pytest
import torch

import tcae_ops
from tcae_ops import backends


def fold(position, size, padding):
    """The position inside the extended image, or None if nothing but zeros is there."""
    last = size - 1
    if padding == "border":
        return min(max(position, 0.0), float(last))
    if padding == "zeros":
        return position if -1 < position < size else None
    if math.isinf(position) or last == 0:
        return float(last) if position > 0 else 0.0
    position = math.fmod(abs(position), 2 * last)
    return 2 * last - position if position > last else position


def sample(plane, x, y, padding):
    """The bilinear sample of one plane (a list of rows) at a position."""
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


def loops(image, flows, logits, target, units, padding):
    """Loss (N,) and warped image in fp64, pixel by pixel."""
    n, c, h, w = image.shape
    pixels = image.double() / (1 if image.dtype.is_floating_point else 255)
    goal = target.double() / (1 if target.dtype.is_floating_point else 255)
    warped = torch.empty(n, c, h, w, dtype=torch.float64)
    scale = ((w - 1) / 2, (h - 1) / 2) if units == "normalized" else (1.0, 1.0)
    for b, y, x in itertools.product(range(n), range(h), range(w)):
        weights = [1.0]
        if logits:
            powers = [math.exp(float(logit.reshape(n, h, w)[b, y, x])) for logit in logits]
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
            warped[b, k, y, x] = sample(plane, x + dx * scale[0], y + dy * scale[1], padding)
    return (warped - goal).abs().mean((1, 2, 3)), warped


@pytest.fixture(params=["cpp", "reference"])
def backend(request):
    """The name of each backend that runs on CPU tensors."""
    reason = backends.why_not(request.param, torch.device("cpu"))
    if reason is not None:
        pytest.skip(f"backend {request.param}: {reason}")
    return request.param


@pytest.fixture
def cpp():
    """For tests of what only the compiled library has."""
    reason = backends.why_not("cpp", torch.device("cpu"))
    if reason is not None:
        pytest.skip(f"backend cpp: {reason}")


@pytest.fixture
def truth():
    """The loops."""
    return loops


def _layout(tensor, layout):
    if layout == "channels_last":
        return tensor.contiguous(memory_format=torch.channels_last)
    if layout == "sliced":
        n, c, h, w = tensor.shape
        whole = torch.full((n + 1, c + 1, h + 2, w + 3), math.nan).to(tensor.dtype)
        whole[1:, :c, 1:-1, 2:-1] = tensor
        return whole[1:, :c, 1:-1, 2:-1]
    if layout == "stepped":
        return tensor.repeat_interleave(2, 2).repeat_interleave(3, 3)[:, :, ::2, 1::3]
    if layout == "expanded":
        return tensor[:1].expand_as(tensor)
    if layout == "constant":
        return tensor[:1, :1, :1, :1].expand_as(tensor)
    if layout == "transposed":
        return tensor.transpose(2, 3).contiguous().transpose(2, 3)
    return tensor.contiguous()


@pytest.fixture
def lay_out():
    """Puts a tensor (N, C, H, W) into memory some way.

    "expanded" repeats its first sample, "constant" its first number.
    """
    return _layout


def _problem(
    shape=(2, 3, 5, 7), count=2, image=torch.float32, flow=torch.float32, reach=3.0, seed=0
):
    """Random image, flows, logits (of both accepted shapes) and target."""
    generator = torch.Generator().manual_seed(seed)
    n, _, h, w = shape

    def picture():
        values = torch.rand(shape, generator=generator, dtype=torch.float64)
        return values.to(image) if image.is_floating_point else (values * 256).to(image)

    def field(channels):
        return torch.randn(n, channels, h, w, generator=generator, dtype=torch.float64)

    flows = [(reach * field(2)).to(flow) for _ in range(count)]
    logits = [field(1).to(flow) if k % 2 else field(1)[:, 0].to(flow) for k in range(count)]
    return picture(), flows, logits, picture()


@pytest.fixture
def problem():
    """Makes inputs of all operators."""
    return _problem


def _gradients(inputs, count, upstream, options):
    """Loss, warped image, and the gradients of all inputs that can have one (None: no part)."""
    inputs = [t.detach().requires_grad_(t.dtype.is_floating_point) for t in inputs]
    image, *fields, target = inputs
    if count:
        outputs = tcae_ops.blend_warp_l1(
            image, fields[:count], fields[count:], target, return_warped=True, **options
        )
    else:
        outputs = tcae_ops.warp_l1(image, fields[0], target, return_warped=True, **options)
    wanted = [t for t in inputs if t.requires_grad]
    upstream = [u.to(out.dtype) for u, out in zip(upstream, outputs, strict=True)]
    gradients = iter(torch.autograd.grad(outputs, wanted, upstream))
    return *outputs, [next(gradients) if t.requires_grad else None for t in inputs]


def _positions(inputs, count, units):
    """Where each pixel samples, in fp64: (N, 2, H, W)."""
    n, _, h, w = inputs[0].shape
    flow = inputs[1].double()
    if count:
        logits = torch.stack([t.double().reshape(n, 1, h, w) for t in inputs[1 + count : -1]])
        flows = torch.stack([t.double() for t in inputs[1 : 1 + count]])
        flow = (logits.softmax(0) * flows).sum(0)
    x, y = torch.meshgrid(torch.arange(w), torch.arange(h), indexing="xy")
    scale = torch.tensor([w - 1, h - 1]) / 2 if units == "normalized" else torch.ones(2)
    return torch.stack([x, y]) + flow * scale.double()[:, None, None]


def _differ(got, expected, tolerance):
    """Where two tensors differ by more; NaN only equals NaN."""
    got, expected = got.detach().double(), expected.detach().double()
    near = (got - expected).abs() <= tolerance
    return ~(near | (got == expected) | (got.isnan() & expected.isnan()))


def _size(*tensors):
    """The largest number."""
    return max(
        (float(t.detach().nan_to_num(0, 0, 0).abs().max()) for t in tensors if t.numel()),
        default=0.0,
    )


def _agree(inputs, count, upstream, options, backend):
    """Asserts that values and all gradients are those of the definition in fp64.

    ``inputs`` are image, flows, logits and target, ``upstream`` the gradients of loss and warped
    image. Derivatives jump where a position crosses the centre of a pixel and where warped and
    target are equal. Positions are rounded, so in a narrow band around these kinks the gradients
    may be those of either side; everywhere else they must agree closely.

    Returns the share of numbers in the gradients that are those of the other side.
    """
    loss, warped, gradients = _gradients(inputs, count, upstream, {**options, "backend": backend})
    wide = [t.double() if t.dtype.is_floating_point else t for t in inputs]
    upstream = [upstream[0], upstream[1].to(warped.dtype)]
    truth = _gradients(wide, count, upstream, {**options, "backend": "reference"})
    working = torch.float64 if torch.float64 in [t.dtype for t in inputs] else torch.float32
    image, target = inputs[0], inputs[-1]
    assert loss.dtype == working
    assert warped.dtype == (image.dtype if image.dtype.is_floating_point else working)

    positions = _positions(inputs, count, options["units"])
    h, w = image.shape[2:]
    reach = h + w
    if count or options["padding"] == "reflection":  # far displacements cancel, or are folded
        pixels = (h + w) / 2 if options["units"] == "normalized" else 1.0
        reach += pixels * _size(*inputs[1 : 1 + max(count, 1)])
    rounding = 2 * torch.finfo(working).eps * (1 + reach)  # of positions
    assert not _differ(loss, truth[0], rounding * _size(*truth[:2])).any()
    tolerance = rounding + torch.finfo(warped.dtype).eps
    assert not _differ(warped, truth[1], tolerance * _size(truth[1])).any()

    distance = (positions - positions.round()).abs().amin(1, keepdim=True)
    goal = target.double() / (1 if target.dtype.is_floating_point else 255)
    tie = (truth[1] - goal).abs() < 2 * rounding
    kink = (distance < 2 * rounding) | tie.any(1, keepdim=True)
    flipped = []
    for i, (got, expected, t) in enumerate(zip(gradients, truth[2], inputs, strict=True)):
        if got is None:
            continue
        assert got.shape == t.shape
        assert got.dtype == t.dtype
        tolerance = 2 * rounding + torch.finfo(t.dtype).eps
        wrong = _differ(got, expected, tolerance * (_size(expected) + _size(upstream[1])))
        if i == 0:
            assert wrong.sum() <= 4 * tie.sum()  # each sample adds to four pixels
        else:
            excused = tie if i == len(inputs) - 1 else kink
            assert not ((wrong[:, None] if t.dim() == 3 else wrong) & ~excused).any()
        flipped.append(wrong.flatten())
    flipped = torch.cat(flipped)
    return float(flipped.double().mean()) if flipped.numel() else 0.0


@pytest.fixture
def agree():
    """The comparison of values and gradients with the definition in fp64."""
    return _agree
