"""The definition of every operator, in plain torch.

Every other backend must compute what this file computes. It is written to be read, not to be fast.
It is differentiable any number of times, and runs on every device and with every float type.

Positions. The output, of the size of the flows, samples at pixel p the image at
``p + displacement(p)``, computed in fp32, or in fp64 when any input is fp64. The padding then folds
the position into the image:

* ``border``: clamped to the image; the derivative outside is zero.
* ``zeros``: pixels outside the image are zero.
* ``reflection``: mirrored at the centres of the first and last pixel; +-inf reads the nearest edge.

A sample blends the four pixels of the cell that ``floor`` of the folded position picks. So do its
derivatives. A pixel whose weight is zero does not count, not even if it is NaN or inf: a zero
displacement copies the image. A NaN displacement gives a NaN sample and a NaN gradient of the
displacement, and adds nothing to the gradient of the image.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tcae_ops.request import Padding, Request, Units


def run(request: Request) -> list[Tensor]:
    """Run an operator: sample an image, and compare the samples with a target.

    Args:
        request: The arguments of the operator, already checked and of one batch.

    Returns:
        The loss (N,) if there is a target, then the samples (N, C, H, W) if they are wanted. H and
        W are those of the flows.
    """
    image, flows, logits, target, units, padding, return_warped = request
    precision = working_dtype(image, *flows, *logits, *target)
    flow = _blend(flows, logits, precision) if logits else flows[0].to(precision)
    x, y = _positions(flow, image, units)
    warped = _sample(_values(image, precision), x, y, padding)
    results = [(warped - _values(t, precision)).abs().mean(dim=(1, 2, 3)) for t in target]
    if return_warped:
        dtype = warped_dtype(image, precision)
        results.append(warped.to(dtype, memory_format=memory_format(image)))
    return results


def working_dtype(*tensors: Tensor) -> torch.dtype:
    """Return the type of positions, samples and losses: fp64 if any tensor is fp64, else fp32."""
    return torch.float64 if any(t.dtype == torch.float64 for t in tensors) else torch.float32


def warped_dtype(image: Tensor, precision: torch.dtype) -> torch.dtype:
    """Return the type of a warped image: the image's own, or the working type for uint8."""
    return image.dtype if image.dtype.is_floating_point else precision


def warped_shape(image: Tensor, flow: Tensor) -> torch.Size:
    """Return the shape of a warped image: batch and size of the flow, channels of the image."""
    n, _, h, w = flow.shape
    return torch.Size((n, image.shape[1], h, w))


def memory_format(image: Tensor) -> torch.memory_format:
    """Return the memory format of results and gradients: channels-last if the image is."""
    in_python = not torch.compiler.is_dynamo_compiling()
    if in_python and torch._C._functorch.is_functorch_wrapped_tensor(image):
        return torch.contiguous_format  # inside vmap torch does not tell
    last = image.is_contiguous(memory_format=torch.channels_last) and not image.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format


def _values(image: Tensor, precision: torch.dtype) -> Tensor:
    """Return the image as numbers. uint8 is read as value / 255."""
    values = image.to(precision)
    return values if image.dtype.is_floating_point else values / 255


def _blend(flows: Sequence[Tensor], logits: Sequence[Tensor], precision: torch.dtype) -> Tensor:
    n, _, h, w = flows[0].shape
    stacked = torch.stack([logit.to(precision).reshape(n, 1, h, w) for logit in logits])
    weights = stacked.softmax(dim=0)
    products = [weight * flow.to(precision) for weight, flow in zip(weights, flows, strict=True)]
    return sum(products[1:], products[0])


def _positions(flow: Tensor, image: Tensor, units: Units) -> tuple[Tensor, Tensor]:
    """Return where each pixel samples, in pixels of the image: x and y, each (N, H, W)."""
    h, w = image.shape[2:]
    dx, dy = flow.unbind(1)
    if units == "normalized":
        dx, dy = _in_pixels(dx, w), _in_pixels(dy, h)
    x, y = pixel_indices(dx)
    return x + dx, y + dy


def pixel_indices(like: Tensor) -> tuple[Tensor, Tensor]:
    """Return the own x (W,) and y (H, 1) of the pixels of a tensor (N, H, W), in its type."""
    _, h, w = like.shape
    x = torch.arange(w, device=like.device, dtype=like.dtype)
    y = torch.arange(h, device=like.device, dtype=like.dtype)
    return x, y[:, None]


def _in_pixels(displacement: Tensor, size: int) -> Tensor:
    """Convert from half image sizes. On an axis of one pixel that is 0, but infinity stays."""
    scaled = displacement * ((size - 1) / 2)
    return torch.where(scaled.isnan(), displacement, scaled)


def _sample(image: Tensor, x: Tensor, y: Tensor, padding: Padding) -> Tensor:
    images, c, h, w = image.shape
    n, rows, columns = x.shape
    known = ~(x.isnan() | y.isnan())
    column, right, fx = _axis(torch.where(known, x, 0.0), w, padding)
    row, below, fy = _axis(torch.where(known, y, 0.0), h, padding)
    pixels = image.reshape(images, c, h * w).expand(n, c, h * w)

    def tap(row: Tensor, column: Tensor, weight: Tensor) -> Tensor:
        inside = (row >= 0) & (row < h) & (column >= 0) & (column < w)
        index = row.clamp(0, h - 1) * w + column.clamp(0, w - 1)
        index = index.reshape(n, 1, rows * columns).expand(n, c, rows * columns)
        value = pixels.gather(2, index).reshape(n, c, rows, columns)
        counts = inside[:, None] & ((weight != 0)[:, None] | value.isfinite())
        return weight[:, None] * torch.where(counts, value, 0.0)

    top = tap(row, column, (1 - fy) * (1 - fx)) + tap(row, right, (1 - fy) * fx)
    bottom = tap(below, column, fy * (1 - fx)) + tap(below, right, fy * fx)
    unknown = (x + y) * torch.where(known, 0.0, float("nan"))
    return torch.where(known[:, None], top + bottom, unknown[:, None])


def _axis(position: Tensor, size: int, padding: Padding) -> tuple[Tensor, Tensor, Tensor]:
    """Fold positions along one axis. Return the first pixel, the second, and its weight."""
    last = size - 1
    edge = last
    if padding == "zeros":
        position = position.clamp(-1, size)
        edge = size
    elif padding == "border":
        position = position.clamp(0, last)
    elif padding == "reflection":
        position = _reflect(position, last)
        edge = max(last - 1, 0)
    else:
        raise ValueError(f"padding is {padding!r}, which the definition does not know")
    cell = position.detach().floor()
    first = cell.long()
    second = torch.where(first == last, edge, first + 1)
    return first, second, position - cell


def _reflect(position: Tensor, last: int) -> Tensor:
    if last == 0:
        return position.clamp(0, 0)
    finite = position.isfinite()
    folded = torch.where(finite, position, 0.0)
    folded = torch.where(folded < 0, -folded, folded).fmod(2 * last)
    folded = torch.where(folded > last, 2 * last - folded, folded)
    return torch.where(finite, folded, position.clamp(0, last))
