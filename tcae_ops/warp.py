"""Warping of an image by one displacement field, or by a blend of several."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from tcae_ops.backends import Backend, choose, warp_at_once
from tcae_ops.checks import check
from tcae_ops.request import Padding, Request, Units


def warp(
    image: Tensor,
    flow: Tensor,
    *,
    units: Units = "pixels",
    padding: Padding = "border",
    backend: Backend | None = None,
) -> Tensor:
    """Sample an image at every pixel's position plus a displacement (a backward warp).

    ``out[n, c, y, x] = image[n, c, y + flow[n, 1, y, x], x + flow[n, 0, y, x]]``, bilinearly.
    Positions are computed in fp32 (fp64 if an input is fp64); a zero displacement copies the image
    bit for bit. A NaN displacement gives NaN. An infinite one reads far outside the image.

    The flow's height and width are those of the result, whatever the image's are. One image serves
    many flows, and one flow many images: without copies.

    Args:
        image: (N, C, height, width), uint8 (read as value / 255) or any float type. N may be 1.
        flow: (N, 2, H, W), any float type; channel 0 points right, channel 1 down. N may be 1.
        units: "pixels", or "normalized": 1 is half the distance between the centres of the first
            and the last pixel of the image.
        padding: Outside the image is the nearest edge pixel ("border"), 0 ("zeros") or the image
            mirrored at the centres of its edge pixels ("reflection").
        backend: The implementation that runs, by default the fastest usable one.

    Returns:
        The warped image (N, C, H, W), of the image's type (uint8: fp32, or fp64 with an fp64 flow).
        Its derivative at whole-pixel positions is that of the cell that floor() picks. Outside the
        image it is zero under "border".

    Raises:
        TypeError: An argument is not a tensor, or its type is not listed here.
        ValueError: A shape, device, option or backend does not fit.

    Example:
        >>> import torch
        >>> image = torch.arange(4.0).reshape(1, 1, 1, 4)
        >>> flow = torch.zeros(1, 2, 1, 4)
        >>> flow[:, 0] = 0.5
        >>> warp(image, flow)
        tensor([[[[0.5000, 1.5000, 2.5000, 3.0000]]]])
    """
    warped = warp_at_once(image, flow, units, padding) if backend is None else None
    if warped is not None:
        return warped
    request = check(Request(image, (flow,), (), (), units, padding, True), False)
    return choose(image.device, backend)(request)[0]


def blend_warp(
    image: Tensor,
    flows: Sequence[Tensor],
    logits: Sequence[Tensor],
    *,
    units: Units = "pixels",
    padding: Padding = "border",
    backend: Backend | None = None,
) -> Tensor:
    """Warp an image once, by a blend of K displacement fields.

    At every pixel the fields are averaged with the softmax of the K ``logits`` as weights. Then
    ``warp`` samples the image.

    Args:
        image: As for ``warp``.
        flows: K >= 1 tensors as for ``warp``, of one height and width.
        logits: K tensors (N, H, W) or (N, 1, H, W), any float type. N may be 1.
        units: As for ``warp``.
        padding: As for ``warp``.
        backend: As for ``warp``.

    Returns:
        The warped image, as from ``warp``.

    Raises:
        TypeError: An argument is not a tensor, or its type is not listed here.
        ValueError: A shape, device, option or backend does not fit.

    Example:
        >>> import torch
        >>> image, flow = torch.rand(1, 3, 8, 8), torch.randn(1, 2, 8, 8)
        >>> logit = torch.zeros(1, 8, 8)
        >>> half = blend_warp(image, [flow, torch.zeros_like(flow)], [logit, logit])
        >>> torch.allclose(half, warp(image, flow / 2), atol=1e-6)
        True
    """
    request = check(Request(image, flows, logits, (), units, padding, True), True)
    return choose(image.device, backend)(request)[0]
