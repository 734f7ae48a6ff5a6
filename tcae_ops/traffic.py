"""The bytes that an operator cannot avoid moving: the yardstick of its speed.

Every input is read once and every result is written once, whatever happens in between. A kernel
that moves these bytes as fast as memory can be copied cannot be made faster, unless its inputs fit
into a cache. Only shapes, types and strides matter, so tensors on the ``meta`` device will do.

>>> image, flow = torch.empty(1, 3, 8, 8, device="meta"), torch.empty(1, 2, 8, 8, device="meta")
>>> forward_bytes(image, [flow])
2048
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tcae_ops.reference import warped_dtype, warped_shape, working_dtype


def forward_bytes(
    image: Tensor,
    flows: Sequence[Tensor],
    logits: Sequence[Tensor] = (),
    target: Tensor | None = None,
    *,
    return_warped: bool = False,
) -> int:
    """Return the bytes of the inputs and the results of a forward pass.

    Args:
        image: As for the operators.
        flows: One tensor (``warp``, ``warp_l1``), or as many as logits.
        logits: As for the operators that blend, else empty.
        target: As for the operators with a loss, else None.
        return_warped: Whether an operator with a loss also returns the warped image.

    Returns:
        The number of bytes. Broadcast (expanded) dimensions are read once.
    """
    inputs = _inputs(image, flows, logits, target)
    return sum(map(distinct_bytes, inputs)) + _result_bytes(inputs, target, return_warped)


def backward_bytes(
    image: Tensor,
    flows: Sequence[Tensor],
    logits: Sequence[Tensor] = (),
    target: Tensor | None = None,
    *,
    return_warped: bool = False,
) -> int:
    """Return the bytes that a backward pass reads, and those of the gradients it writes.

    It computes the gradients of those inputs that require one, from the gradients of all results.
    Flows and logits are always read, because they say where. The image is read unless only its own
    gradient is wanted and there is no loss whose sign depends on it.

    Args:
        image: As for `forward_bytes`.
        flows: As for `forward_bytes`.
        logits: As for `forward_bytes`.
        target: As for `forward_bytes`.
        return_warped: As for `forward_bytes`.

    Returns:
        The number of bytes, 0 if no input requires a gradient. Gradients are dense.
    """
    inputs = _inputs(image, flows, logits, target)
    needed = [t for t in inputs if t.requires_grad]
    if not needed:
        return 0
    image_unread = target is None and len(needed) == 1 and image.requires_grad
    reads = [t for t in inputs if t is not image or not image_unread]
    gradients = sum(t.numel() * t.element_size() for t in needed)
    upstream = _result_bytes(inputs, target, return_warped)
    return sum(map(distinct_bytes, reads)) + upstream + gradients


def _inputs(
    image: Tensor, flows: Sequence[Tensor], logits: Sequence[Tensor], target: Tensor | None
) -> list[Tensor]:
    return [image, *flows, *logits, *([] if target is None else [target])]


def _result_bytes(inputs: list[Tensor], target: Tensor | None, return_warped: bool) -> int:
    """Return the size of loss, warped image or both. Their gradients have the same size."""
    image, flow, *_ = inputs
    precision, shape = working_dtype(*inputs), warped_shape(image, flow)
    loss = 0 if target is None else shape[0] * _size(precision)
    warped = shape.numel() * _size(warped_dtype(image, precision))
    return loss + (warped if target is None or return_warped else 0)


def distinct_bytes(tensor: Tensor) -> int:
    """Count distinct bytes. A dimension of stride 0 repeats the same ones."""
    elements = 1
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        elements *= size if stride else min(size, 1)
    return elements * tensor.element_size()


def _size(dtype: torch.dtype) -> int:
    return torch.empty((), dtype=dtype).element_size()
