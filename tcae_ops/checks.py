"""Checks of the operators' arguments. An error names the argument, what came and what is needed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tcae_ops.request import PADDINGS, UNITS, Request

FLOAT_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
IMAGE_DTYPES = (torch.uint8, *FLOAT_DTYPES)


def check(request: Request, blends: bool) -> None:
    """Refuse arguments of an operator that do not fit.

    Args:
        request: What the operator was called with.
        blends: Whether the operator takes lists of flows and logits, or one flow.

    Raises:
        TypeError: An argument is not a tensor, or has a wrong type.
        ValueError: A shape, device or option does not fit.
    """
    # Every call pays for its checks, and most calls are right. So a quick look comes first. Only if
    # something does not fit, `_explain` finds out what.
    image, flows, logits, target, units, padding, _ = request
    if units not in UNITS or padding not in PADDINGS or not isinstance(image, Tensor):
        return _explain(request, blends)
    shape, device = image.shape, image.device
    if len(shape) != 4 or image.dtype not in IMAGE_DTYPES:
        return _explain(request, blends)
    n, c, h, w = shape
    fitting = c > 0 and h > 0 and w > 0
    if blends:
        if not isinstance(flows, (list, tuple)) or not isinstance(logits, (list, tuple)):
            return _explain(request, blends)
        fitting = fitting and 0 < len(flows) == len(logits)
        for t in logits:
            fitting = fitting and isinstance(t, Tensor) and t.device == device
            fitting = fitting and t.dtype in FLOAT_DTYPES
            fitting = fitting and (t.shape == (n, 1, h, w) or t.shape == (n, h, w))
    for t in flows:
        fitting = fitting and isinstance(t, Tensor) and t.device == device
        fitting = fitting and t.dtype in FLOAT_DTYPES and t.shape == (n, 2, h, w)
    for t in target:
        fitting = fitting and isinstance(t, Tensor) and t.device == device
        fitting = fitting and t.dtype in IMAGE_DTYPES and t.shape == shape
    if not fitting:
        _explain(request, blends)


def _explain(request: Request, blends: bool) -> None:
    """Raise the error that says what does not fit. Do nothing if everything does."""
    image, flows, logits, target, units, padding, _ = request
    check_units(units)
    _check_option("padding", padding, PADDINGS)
    _check_image(image)
    if blends:
        _check_blend(flows, logits, image)
    else:
        _check_flow(flows[0], image, "flow")
    for t in target:
        _check_target(t, image)


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


def _check_flow(flow: Tensor, image: Tensor, name: str) -> None:
    """Refuse a flow that does not fit the image."""
    check_tensor(name, flow, FLOAT_DTYPES)
    n, _, h, w = image.shape
    _check_shape(name, flow, [(n, 2, h, w)], "(N, 2, H, W)")
    _check_device(name, flow, image)


def _check_target(target: Tensor, image: Tensor) -> None:
    """Refuse a target that does not fit the image."""
    check_tensor("target", target, IMAGE_DTYPES)
    _check_shape("target", target, [tuple(image.shape)], "the image's shape")
    _check_device("target", target, image)


def _check_blend(flows: Sequence[Tensor], logits: Sequence[Tensor], image: Tensor) -> None:
    """Refuse flows and logits that do not fit the image or one another."""
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
    n, _, h, w = image.shape
    for k, (flow, logit) in enumerate(zip(flows, logits, strict=True)):
        _check_flow(flow, image, f"flows[{k}]")
        name = f"logits[{k}]"
        check_tensor(name, logit, FLOAT_DTYPES)
        _check_shape(name, logit, [(n, h, w), (n, 1, h, w)], "(N, H, W) or (N, 1, H, W)")
        _check_device(name, logit, image)


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


def _check_shape(name: str, value: Tensor, shapes: list[tuple[int, ...]], description: str) -> None:
    if all(tuple(value.shape) != shape for shape in shapes):
        needed = " or ".join(str(shape) for shape in shapes)
        raise ValueError(
            f"{name} has shape {tuple(value.shape)}, but must be {description}, here {needed}"
        )


def _check_device(name: str, value: Tensor, image: Tensor) -> None:
    if value.device != image.device:
        raise ValueError(
            f"{name} is on {value.device}, but must be where the image is, on {image.device}"
        )
