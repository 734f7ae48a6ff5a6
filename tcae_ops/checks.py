"""Checks of the operators' arguments. An error names the argument, what came and what is needed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tcae_ops.request import PADDINGS, UNITS, Request

FLOAT_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
IMAGE_DTYPES = (torch.uint8, *FLOAT_DTYPES)


def check(request: Request, blends: bool) -> Request:
    """Refuse arguments of an operator that do not fit.

    Args:
        request: What the operator was called with.
        blends: Whether the operator takes lists of flows and logits, or one flow.

    Returns:
        The request, with all tensors but the image of one batch.

    Raises:
        TypeError: An argument is not a tensor, or has a wrong type.
        ValueError: A shape, device or option does not fit.
    """
    # Every call pays for its checks, and most calls are right, of one batch and of one size. So a
    # quick look comes first. Only if something is different, `_look_closely` finds out what.
    image, flows, logits, target, units, padding, return_warped = request
    if units not in UNITS or padding not in PADDINGS or not isinstance(image, Tensor):
        return _look_closely(request, blends)
    shape, device = image.shape, image.device
    if len(shape) != 4 or image.dtype not in IMAGE_DTYPES:
        return _look_closely(request, blends)
    n, c, h, w = shape
    alike = c > 0 and h > 0 and w > 0 and isinstance(return_warped, bool)
    if blends:
        if not isinstance(flows, (list, tuple)) or not isinstance(logits, (list, tuple)):
            return _look_closely(request, blends)
        alike = alike and 0 < len(flows) == len(logits)
        for t in logits:
            alike = alike and isinstance(t, Tensor) and t.device == device
            alike = alike and t.dtype in FLOAT_DTYPES
            alike = alike and (t.shape == (n, 1, h, w) or t.shape == (n, h, w))
    for t in flows:
        alike = alike and isinstance(t, Tensor) and t.device == device
        alike = alike and t.dtype in FLOAT_DTYPES and t.shape == (n, 2, h, w)
    for t in target:
        alike = alike and isinstance(t, Tensor) and t.device == device
        alike = alike and t.dtype in IMAGE_DTYPES and t.shape == shape
    return request if alike else _look_closely(request, blends)


def _look_closely(request: Request, blends: bool) -> Request:
    """Raise the error that says what does not fit. Else repeat what there is only one of."""
    image, flows, logits, target, units, padding, return_warped = request
    check_units(units)
    _check_option("padding", padding, PADDINGS)
    if not isinstance(return_warped, bool):
        raise TypeError(f"return_warped is {return_warped!r}, but must be True or False")
    _check_image(image)
    if blends:
        _check_lists(flows, logits)
    fields = [(f"flows[{k}]" if blends else "flow", t) for k, t in enumerate(flows)]
    weights = [(f"logits[{k}]", t) for k, t in enumerate(logits)]
    for name, t in (*fields, *weights):
        check_tensor(name, t, FLOAT_DTYPES)
    for t in target:
        check_tensor("target", t, IMAGE_DTYPES)
    size = _size(*fields[0])
    every = (image, *flows, *logits, *target)
    n = next((t.shape[0] for t in every if t.dim() and t.shape[0] != 1), 1)
    for name, t in fields:
        _check_shape(name, t, n, [(2, *size)], "(N, 2, H, W)")
    for name, t in weights:
        _check_shape(name, t, n, [size, (1, *size)], "(N, H, W) or (N, 1, H, W)")
    for t in target:
        _check_shape("target", t, n, [(image.shape[1], *size)], "of the warped image's shape")
    for name, t in (*fields, *weights, *[("target", t) for t in target]):
        _check_device(name, t, image)
    return request.of_one_batch()


def check_units(units: str) -> None:
    """Refuse units that do not exist.

    Raises:
        ValueError: There are none of this name.
    """
    _check_option("units", units, UNITS)


def _check_option(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ValueError(f"{name} is {value!r}, but must be one of {', '.join(known)}")


def _check_image(image: Tensor) -> None:
    """Refuse an image that is not a batch of images."""
    check_tensor("image", image, IMAGE_DTYPES)
    if image.dim() != 4 or 0 in image.shape[1:]:
        raise ValueError(
            f"image has shape {tuple(image.shape)}, but must be (N, C, H, W) with C, H, W >= 1"
        )


def _size(name: str, flow: Tensor) -> tuple[int, int]:
    """Return the height and width of a flow, which are those of the warped image."""
    if flow.dim() != 4 or 0 in flow.shape[1:]:
        raise ValueError(
            f"{name} has shape {tuple(flow.shape)}, but must be (N, 2, H, W) with H, W >= 1"
        )
    return flow.shape[2], flow.shape[3]


def _check_lists(flows: Sequence[Tensor], logits: Sequence[Tensor]) -> None:
    """Refuse what is not two lists of one length."""
    for name, tensors in (("flows", flows), ("logits", logits)):
        if isinstance(tensors, Tensor) or not isinstance(tensors, Sequence):
            raise TypeError(
                f"{name} is a {type(tensors).__name__}, but must be a list or tuple of tensors"
            )
    if not flows:
        raise ValueError("flows is empty, but must hold at least one tensor")
    if len(logits) != len(flows):
        raise ValueError(
            f"logits holds {len(logits)} tensors, but must hold one for each of {len(flows)} flows"
        )


def check_tensor(name: str, value: object, dtypes: tuple[torch.dtype, ...]) -> None:
    """Refuse what is not a tensor of one of these types.

    Raises:
        TypeError: It is not.
    """
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} is a {type(value).__name__}, but must be a torch.Tensor")
    if value.dtype not in dtypes:
        known = ", ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
        came = str(value.dtype).removeprefix("torch.")
        raise TypeError(f"{name} is of type {came}, but must be one of {known}")


def _check_shape(
    name: str, value: Tensor, n: int, shapes: list[tuple[int, ...]], description: str
) -> None:
    """Refuse a tensor that is not a batch of N or of 1 of one of these shapes."""
    if tuple(value.shape[1:]) not in shapes or value.shape[0] not in (1, n):
        needed = " or ".join(str((n, *shape)) for shape in shapes)
        also = "" if n == 1 else ", or a batch of 1"
        raise ValueError(
            f"{name} has shape {tuple(value.shape)}, but must be {description}, here {needed}{also}"
        )


def _check_device(name: str, value: Tensor, image: Tensor) -> None:
    if value.device != image.device:
        raise ValueError(
            f"{name} is on {value.device}, but must be where the image is, on {image.device}"
        )
