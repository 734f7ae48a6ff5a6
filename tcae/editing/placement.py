"""From a flow of an aligned face to a moved face in the picture that it was cut from."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tcae_ops import warp

Picture = NDArray[np.uint8]
Matrix = NDArray[Any]

_FADE = 0.35  # of half the side of the aligned face, from its border inwards
_ROUND = 3.0  # 2 would be a circle
_MARGIN = 0.125  # of the side, around the aligned face


def moved(picture: Picture, flow: Tensor, matrix: Matrix) -> Picture:
    """Move a face in its picture by a flow of the aligned face.

    The flow fades out at the border of the aligned face. Beyond it, every pixel stays as it is.

    Args:
        picture: (H, W, 3) RGB.
        flow: (2, S, S) backward flow x, y, in pixels of the aligned face.
        matrix: (2, 3) similarity transform from pixels of the picture to those of the aligned face.

    Returns:
        The picture (H, W, 3) with the moved face.
    """
    inverse = cv2.invertAffineTransform(matrix)
    first, last = _part_of(picture, inverse, flow.shape[-1])
    part = (slice(first[1], last[1]), slice(first[0], last[0]))
    shifted = matrix.copy()
    shifted[:, 2] += matrix[:, :2] @ first
    spread = cv2.warpAffine(
        (flow * fade(flow.shape[-1])).permute(1, 2, 0).numpy(),
        shifted,
        tuple((last - first).tolist()),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
    )
    pixels = torch.from_numpy(spread @ inverse[:, :2].T.astype(np.float32)).permute(2, 0, 1)
    image = torch.from_numpy(np.ascontiguousarray(picture[part])).permute(2, 0, 1)
    changed = (warp(image[None], pixels[None])[0] * 255).round().byte()
    result = picture.copy()
    result[part] = changed.permute(1, 2, 0).numpy()
    return result


def fade(size: int) -> Tensor:
    """Return the mask (S, S) of an aligned face: 1 inside, falling smoothly to 0 at its border.

    Its outline is a square with round corners, for a face has no corners.
    """
    side = torch.linspace(-1, 1, size).abs() ** _ROUND
    away = (side[:, None] + side) ** (1 / _ROUND)
    inside = ((1 - away) / _FADE).clamp(0, 1)
    return inside * inside * (3 - 2 * inside)


def turned(flow: Tensor, degrees: float) -> Tensor:
    """Add a turn in the plane of the picture to a flow (2, S, S), about the face's middle.

    Args:
        flow: In pixels.
        degrees: Clockwise, as one sees it.
    """
    if degrees == 0:
        return flow
    size, angle = flow.shape[-1], np.radians(degrees)
    side = torch.arange(size) - (size - 1) / 2
    y, x = torch.meshgrid(side, side, indexing="ij")
    cosine, sine = float(np.cos(angle)), float(np.sin(angle))
    back = torch.stack([cosine * x + sine * y - x, cosine * y - sine * x - y])
    return back + warp(flow[None], back[None])[0]


def _part_of(picture: Picture, inverse: Matrix, size: int) -> tuple[Matrix, Matrix]:
    """Return the corners of the part of a picture that an aligned face shows, and a margin.

    From the margin the warp may take colours.
    """
    low, end = -_MARGIN * size, (1 + _MARGIN) * size
    corners = np.array([[low, low, 1], [end, low, 1], [low, end, 1], [end, end, 1]]) @ inverse.T
    high = np.array([picture.shape[1], picture.shape[0]])
    first = np.clip(np.floor(corners.min(0)), 0, high - 1).astype(int)
    return first, np.clip(np.ceil(corners.max(0)), first + 1, high).astype(int)
