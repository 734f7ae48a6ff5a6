"""From a flow of an aligned face to a moved face in the picture that it was cut from."""

from __future__ import annotations

from typing import Any, NamedTuple

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


class _Part(NamedTuple):
    """A rectangle of a picture, in whole pixels."""

    left: int
    top: int
    right: int
    bottom: int


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
    layers = (flow * fade(flow.shape[-1])).permute(1, 2, 0).numpy()
    inverse = cv2.invertAffineTransform(matrix)
    part = _part_of(picture, inverse, flow.shape[-1])
    shifted = matrix.copy()
    shifted[:, 2] += matrix[:, :2] @ part[:2]
    spread = cv2.warpAffine(
        layers,
        shifted,
        (part.right - part.left, part.bottom - part.top),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
    )
    pixels = torch.from_numpy(spread @ inverse[:, :2].T.astype(np.float32)).permute(2, 0, 1)[None]
    margin = int(pixels.abs().max().ceil()) + 1  # from so far beyond the part colours may come
    wide = _Part(
        max(part.left - margin, 0),
        max(part.top - margin, 0),
        min(part.right + margin, picture.shape[1]),
        min(part.bottom + margin, picture.shape[0]),
    )
    before, after = np.subtract(part[:2], wide[:2]), np.subtract(wide[2:], part[2:])
    pixels = torch.nn.functional.pad(pixels, (before[0], after[0], before[1], after[1]))
    image = torch.from_numpy(np.ascontiguousarray(_rows(picture, wide))).permute(2, 0, 1)[None]
    changed = (warp(image, pixels)[0] * 255).round().clamp(0, 255).byte()
    result = picture.copy()
    _rows(result, wide)[:] = changed.permute(1, 2, 0).numpy()
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


def _part_of(picture: Picture, inverse: Matrix, size: int) -> _Part:
    """Return the part of a picture that an aligned face shows."""
    corners = np.array([[0, 0, 1], [size, 0, 1], [0, size, 1], [size, size, 1]]) @ inverse.T
    high = np.array([picture.shape[1], picture.shape[0]])
    first = np.clip(np.floor(corners.min(0) - 2), 0, high - 1).astype(int)
    last = np.clip(np.ceil(corners.max(0) + 3), first + 1, high).astype(int)
    return _Part(*first.tolist(), *last.tolist())


def _rows(picture: Picture, part: _Part) -> Picture:
    return picture[part.top : part.bottom, part.left : part.right]
