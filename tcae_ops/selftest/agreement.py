"""Comparison of a backend with the definition: values and all gradients.

Derivatives jump where a position crosses the centre of a pixel, and where the warped image equals
the target. Positions are rounded, so in a narrow band around these kinks the gradients may be those
of either side. Everywhere else they must agree closely.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import tcae_ops


class Disagreement(AssertionError):
    """A result differs from that of the definition."""


@dataclass(frozen=True)
class Results:
    """The results of a forward and a backward pass."""

    loss: Tensor | None  # None if it was not asked for
    warped: Tensor | None  # likewise
    gradients: list[Tensor | None]  # of image, flows, logits and target; None for uint8

    @property
    def found(self) -> list[Tensor]:
        """The results of the forward pass."""
        return [t for t in (self.loss, self.warped) if t is not None]


def agree(
    inputs: Sequence[Tensor],
    count: int,
    upstream: Sequence[Tensor | None],
    options: dict[str, Any],
    backend: str,
) -> float:
    """Compare a backend with the definition in fp64 on the CPU.

    Args:
        inputs: Image, flows, logits and target.
        count: How many flows are blended. 0 means one flow, not blended.
        upstream: The gradients of loss (N,) and warped image (N, C, H, W). Without one of them the
            operator that gives only the other is called.
        options: ``units`` and ``padding``.
        backend: The backend to compare.

    Returns:
        The share of gradient values that belong to the other side of a kink.

    Raises:
        Disagreement: Something differs. The message says what, and where first.
    """
    got = differentiate(inputs, count, upstream, {**options, "backend": backend})
    # With a gradient for each sample: where a batch of one serves all, their sum is compared.
    samples = next((len(t) for t in inputs if len(t) != 1), 1)
    wide = [
        (t.double() if t.dtype.is_floating_point else t).expand(samples, *t.shape[1:])
        for t in _on_cpu(inputs)
    ]
    by_results = _on_cpu(_for_both_results(inputs, upstream))
    truth = differentiate(wide, count, by_results, {**options, "backend": "reference"})
    rounding = _rounding_of_positions(inputs, count, options)
    _check_values(got, truth, inputs, rounding)
    return _check_gradients(got, truth, wide, inputs, count, by_results, options, rounding)


def differentiate(
    inputs: Sequence[Tensor],
    count: int,
    upstream: Sequence[Tensor | None],
    options: dict[str, Any],
) -> Results:
    """Compute the loss, the warped image, and the gradients of all inputs that can have one.

    Args:
        inputs: As for `agree`.
        count: As for `agree`.
        upstream: As for `agree`.
        options: ``units``, ``padding`` and ``backend``.
    """
    inputs = [t.detach().requires_grad_(t.dtype.is_floating_point) for t in inputs]
    by_loss, by_warped = upstream
    warped: Tensor | None
    if by_loss is None:
        inputs[-1].requires_grad_(False)
        loss, warped = None, _apply_alone(inputs, count, options, compares=False)
    elif by_warped is None:
        loss, warped = _apply_alone(inputs, count, options, compares=True), None
    else:
        loss, warped = apply(inputs, count, options)
    pairs = ((loss, by_loss), (warped, by_warped))
    outputs, by_outputs = zip(
        *((t, by.to(t.dtype)) for t, by in pairs if t is not None and by is not None), strict=True
    )
    wanted = [t for t in inputs if t.requires_grad]
    gradients = iter(torch.autograd.grad(outputs, wanted, by_outputs))
    return Results(loss, warped, [next(gradients) if t.requires_grad else None for t in inputs])


def apply(inputs: Sequence[Tensor], count: int, options: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Compute the loss and the warped image from image, flows, logits and target."""
    image, *fields, target = inputs
    if count:
        return tcae_ops.blend_warp_l1(
            image, fields[:count], fields[count:], target, return_warped=True, **options
        )
    return tcae_ops.warp_l1(image, fields[0], target, return_warped=True, **options)


def _apply_alone(
    inputs: Sequence[Tensor], count: int, options: dict[str, Any], compares: bool
) -> Tensor:
    """Compute only the loss, or only the warped image."""
    image, *fields, target = inputs
    arguments: list[Any] = [fields[:count], fields[count:]] if count else fields[:1]
    name = "blend_" * bool(count) + "warp" + "_l1" * compares
    result: Tensor = getattr(tcae_ops, name)(image, *arguments, *[target] * compares, **options)
    return result


def _for_both_results(
    inputs: Sequence[Tensor], upstream: Sequence[Tensor | None]
) -> tuple[Tensor, Tensor]:
    """Return the gradients of both results, zeros for one that was not asked for."""
    image, flow, *_ = inputs
    by_loss, by_warped = upstream
    n, _, h, w = flow.shape
    if by_loss is None:
        by_loss = image.new_zeros(max(n, len(image)), dtype=_working(inputs))
    if by_warped is None:
        shape = (len(by_loss), image.shape[1], h, w)
        by_warped = image.new_zeros(shape, dtype=_working(inputs))
    # With the rounding of the result's type.
    return by_loss, by_warped.to(image.dtype if image.dtype.is_floating_point else _working(inputs))


def _check_values(got: Results, truth: Results, inputs: Sequence[Tensor], rounding: float) -> None:
    working = _working(inputs)
    image = inputs[0]
    dtype = image.dtype if image.dtype.is_floating_point else working
    true_loss, true_warped = truth.found
    size = _size(true_warped)
    for name, result, true, wanted, tolerance in (
        ("loss", got.loss, true_loss, working, rounding * max(_size(true_loss), size)),
        (
            "warped image",
            got.warped,
            true_warped,
            dtype,
            (rounding + torch.finfo(dtype).eps) * size,
        ),
    ):
        if result is None:
            continue
        if result.dtype != wanted:
            raise Disagreement(f"the {name} is {result.dtype}, not {wanted}")
        _require(name, _differ(result, true, tolerance))


def _check_gradients(
    got: Results,
    truth: Results,
    wide: Sequence[Tensor],
    inputs: Sequence[Tensor],
    count: int,
    upstream: Sequence[Tensor],
    options: dict[str, Any],
    rounding: float,
) -> float:
    positions = _positions(wide, count, options["units"])
    distance = (positions - positions.round()).abs().amin(1, keepdim=True)
    goal = wide[-1].double() / (1 if wide[-1].dtype.is_floating_point else 255)
    tie = (truth.found[-1] - goal).abs() < 2 * rounding
    kink = (distance < 2 * rounding) | tie.any(1, keepdim=True)
    flipped = []
    last = len(inputs) - 1
    pairs = zip(got.gradients, truth.gradients, inputs, strict=True)
    for i, (gradient, each, t) in enumerate(pairs):
        if gradient is None or each is None:
            continue
        of_all = len(t) != len(each)
        expected = each.sum(0, keepdim=True) if of_all else each
        size = _size(each.abs().sum(0)) if of_all else _size(each)  # each sample's is rounded
        name = _name(i, last, count)
        if (gradient.shape, gradient.dtype) != (t.shape, t.dtype):
            raise Disagreement(f"{name} is {gradient.dtype} {tuple(gradient.shape)}")
        tolerance = 2 * rounding + torch.finfo(t.dtype).eps
        wrong = _differ(gradient, expected, tolerance * (size + _size(upstream[1])))
        if i == 0:  # each sample adds to four pixels
            excused = 4 * int(tie.sum())
            _require(name, wrong if int(wrong.sum()) > excused else wrong & False)
        else:
            near = tie if i == last else kink
            if of_all:
                near = near.any(0, keepdim=True)
            _require(name, (wrong[:, None] if t.dim() == 3 else wrong) & ~near)
        flipped.append(wrong.flatten())
    share = torch.cat(flipped) if flipped else torch.zeros(0)
    return float(share.double().mean()) if share.numel() else 0.0


def _name(i: int, last: int, count: int) -> str:
    if i in (0, last):
        return f"gradient of the {'target' if i else 'image'}"
    flows = max(count, 1)
    return f"gradient of flows[{i - 1}]" if i <= flows else f"gradient of logits[{i - 1 - flows}]"


def _require(name: str, wrong: Tensor) -> None:
    if wrong.any():
        raise Disagreement(
            f"{name}: {int(wrong.sum())} of {wrong.numel()} numbers are wrong, "
            f"the first at {tuple(wrong.nonzero()[0].tolist())}"
        )


def _working(inputs: Sequence[Tensor]) -> torch.dtype:
    return torch.float64 if torch.float64 in [t.dtype for t in inputs] else torch.float32


def _rounding_of_positions(inputs: Sequence[Tensor], count: int, options: dict[str, Any]) -> float:
    """Return how far off a position may be, in pixels."""
    h, w = inputs[0].shape[2:]
    reach = float(max(h + w, sum(inputs[1].shape[2:])))
    if count or options["padding"] == "reflection":  # large displacements cancel or are folded
        pixels = (h + w) / 2 if options["units"] == "normalized" else 1.0
        reach += pixels * _size(*inputs[1 : 1 + max(count, 1)])
    return 2 * torch.finfo(_working(inputs)).eps * (1 + reach)


def _positions(inputs: Sequence[Tensor], count: int, units: str) -> Tensor:
    """Return where each pixel samples, in fp64 on the CPU: (N, 2, H, W)."""
    flow = inputs[1].double()
    h, w = flow.shape[2:]
    if count:
        fields = [(t if t.dim() == 4 else t[:, None]).double() for t in inputs[1:-1]]
        flows, logits = (
            torch.stack(torch.broadcast_tensors(*fs)) for fs in (fields[:count], fields[count:])
        )
        flow = (logits.softmax(0) * flows).sum(0)
    cpu = torch.device("cpu")
    x, y = torch.meshgrid(torch.arange(w, device=cpu), torch.arange(h, device=cpu), indexing="xy")
    height, width = inputs[0].shape[2:]
    size = (width - 1, height - 1) if units == "normalized" else (2, 2)
    scale = torch.tensor(size, dtype=torch.float64, device=cpu) / 2
    return torch.stack([x, y]) + flow * scale[:, None, None]


def _differ(got: Tensor, expected: Tensor, tolerance: float) -> Tensor:
    """Return a mask, on the CPU, of where two tensors differ by more. NaN only equals NaN."""
    got, expected = (t.detach().cpu().double() for t in (got, expected))
    near = (got - expected).abs() <= tolerance
    return ~(near | (got == expected) | (got.isnan() & expected.isnan()))


def _size(*tensors: Tensor) -> float:
    """Return the largest absolute value."""
    return max(
        (float(t.detach().nan_to_num(0, 0, 0).abs().max()) for t in tensors if t.numel()),
        default=0.0,
    )


def _on_cpu(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [t.detach().cpu() for t in tensors]
