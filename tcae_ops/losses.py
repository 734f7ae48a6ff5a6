"""L1 distance between a warped image and a target, per sample, in one pass over the pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, overload

from torch import Tensor

from tcae_ops.backends import Backend, choose
from tcae_ops.checks import check
from tcae_ops.request import Padding, Request, Units


@overload
def warp_l1(
    image: Tensor,
    flow: Tensor,
    target: Tensor,
    *,
    units: Units = ...,
    padding: Padding = ...,
    return_warped: Literal[False] = ...,
    backend: Backend | None = ...,
) -> Tensor: ...
@overload
def warp_l1(
    image: Tensor,
    flow: Tensor,
    target: Tensor,
    *,
    units: Units = ...,
    padding: Padding = ...,
    return_warped: Literal[True],
    backend: Backend | None = ...,
) -> tuple[Tensor, Tensor]: ...
def warp_l1(
    image: Tensor,
    flow: Tensor,
    target: Tensor,
    *,
    units: Units = "pixels",
    padding: Padding = "border",
    return_warped: bool = False,
    backend: Backend | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Return the mean absolute difference of ``warp(image, flow)`` and a target, per sample.

    The warped image is only stored if ``return_warped`` asks for it.

    Args:
        image: As for ``tcae_ops.warp``.
        flow: As for ``tcae_ops.warp``.
        target: (N, C, H, W), as the warped image; uint8 (read as value / 255) or any float type. N
            may be 1.
        units: As for ``tcae_ops.warp``.
        padding: As for ``tcae_ops.warp``.
        return_warped: Whether to return the warped image too. It is differentiable as well.
        backend: As for ``tcae_ops.warp``.

    Returns:
        The loss (N,), the mean over C, H and W, in fp32 (fp64 if an input is fp64). With
        ``return_warped`` the loss and the warped image. The derivative of abs at 0 is 0.

    Raises:
        TypeError: An argument is not a tensor, or its type is not listed here.
        ValueError: A shape, device, option or backend does not fit.

    Example:
        >>> import torch
        >>> image, flow = torch.rand(2, 3, 8, 8), torch.zeros(2, 2, 8, 8)
        >>> warp_l1(image, flow, image)
        tensor([0., 0.])
    """
    request = check(Request(image, (flow,), (), (target,), units, padding, return_warped), False)
    results = choose(image.device, backend)(request)
    return (results[0], results[1]) if return_warped else results[0]


@overload
def blend_warp_l1(
    image: Tensor,
    flows: Sequence[Tensor],
    logits: Sequence[Tensor],
    target: Tensor,
    *,
    units: Units = ...,
    padding: Padding = ...,
    return_warped: Literal[False] = ...,
    backend: Backend | None = ...,
) -> Tensor: ...
@overload
def blend_warp_l1(
    image: Tensor,
    flows: Sequence[Tensor],
    logits: Sequence[Tensor],
    target: Tensor,
    *,
    units: Units = ...,
    padding: Padding = ...,
    return_warped: Literal[True],
    backend: Backend | None = ...,
) -> tuple[Tensor, Tensor]: ...
def blend_warp_l1(
    image: Tensor,
    flows: Sequence[Tensor],
    logits: Sequence[Tensor],
    target: Tensor,
    *,
    units: Units = "pixels",
    padding: Padding = "border",
    return_warped: bool = False,
    backend: Backend | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Compute ``warp_l1`` with a blend of K displacement fields.

    Args:
        image: As for ``tcae_ops.warp``.
        flows: As for ``tcae_ops.blend_warp``.
        logits: As for ``tcae_ops.blend_warp``.
        target: As for ``warp_l1``.
        units: As for ``tcae_ops.warp``.
        padding: As for ``tcae_ops.warp``.
        return_warped: As for ``warp_l1``.
        backend: As for ``tcae_ops.warp``.

    Returns:
        As ``warp_l1``.

    Raises:
        TypeError: An argument is not a tensor, or its type is not listed here.
        ValueError: A shape, device, option or backend does not fit.

    Example:
        >>> import torch
        >>> image, target = torch.rand(2, 1, 3, 8, 8)
        >>> flows, logits = torch.randn(2, 1, 2, 8, 8), torch.randn(2, 1, 8, 8)
        >>> blend_warp_l1(image, list(flows), list(logits), target).shape
        torch.Size([1])
    """
    request = check(Request(image, flows, logits, (target,), units, padding, return_warped), True)
    results = choose(image.device, backend)(request)
    return (results[0], results[1]) if return_warped else results[0]
