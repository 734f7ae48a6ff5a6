"""What a face looks like, to tell whether two pictures show one person. Nothing is learnt."""

from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tcae.data.align import DEFAULT_TEMPLATE, align

Look = NDArray[np.int8]
"""A vector; see `agreement`."""

_ALIGNED, _INNER, _SMALL = 92, 74, 64  # sides in pixels: of the crop, of what is seen of it
_ANGLES, _CELL = 9, 8  # of edges: angles in half a turn, side of a cell in pixels
_CELLS = 6  # of texture, in a row
_NEIGHBOURS = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))
_SCALE = 1000  # of a vector of length 1, whose values are then small whole numbers


def look_of(rgb: NDArray[np.uint8], points: NDArray[np.floating[Any]]) -> Look | None:
    """Return what the inner part of an aligned face looks like: its edges and its texture.

    These are histograms of oriented gradients (Dalal and Triggs, 2005) and of local binary patterns
    (Ahonen et al., 2006), both indifferent to the brightness of the light.

    Args:
        rgb: (H, W, 3) picture.
        points: (5, 2) in it, as `tcae.data.align.POINT_NAMES`.

    Returns:
        (3888,) int8, or None if the points lie on one spot or are unknown.
    """
    try:
        face = align(rgb, points, DEFAULT_TEMPLATE, _ALIGNED)
    except ValueError:
        return None
    edge = (_ALIGNED - _INNER) // 2
    grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)[edge:-edge, edge:-edge]
    small = cv2.resize(grey, (_SMALL, _SMALL), interpolation=cv2.INTER_AREA)
    return np.concatenate([_whole(_gradients(small)), _whole(np.sqrt(_texture(grey)))])


def agreement(looks: list[Look], look: Look) -> float:
    """Return how well a look agrees with the best of others: 1 if it is equal, 0 for chance."""
    known, new = np.stack(looks).astype(np.float32), look.astype(np.float32)
    lengths = np.linalg.norm(known, axis=1) * np.linalg.norm(new)
    return float((known @ new / np.maximum(lengths, 1e-6)).max())


def _gradients(grey: NDArray[Any]) -> NDArray[np.float64]:
    """Return histograms of oriented gradients, of blocks of 2x2 cells that overlap by one."""
    brightness = np.sqrt(grey.astype(np.float64))
    down, right = np.gradient(brightness)
    turn = np.arctan2(down, right) % np.pi * (_ANGLES / np.pi)
    # What lies between two angles or between the middles of cells counts for both.
    apart = np.abs(turn - np.arange(_ANGLES)[:, None, None])
    share = np.maximum(1 - np.minimum(apart, _ANGLES - apart), 0)
    cells = _near_cells() @ (np.hypot(down, right) * share) @ _near_cells().T
    rows = np.stack([cells[:, :-1], cells[:, 1:]])
    blocks = np.concatenate([rows[..., :-1], rows[..., 1:]]).reshape(4 * _ANGLES, -1)
    blocks = blocks / np.maximum(np.linalg.norm(blocks, axis=0), 1e-3)
    blocks = np.minimum(blocks, 0.2)
    return (blocks / np.maximum(np.linalg.norm(blocks, axis=0), 1e-3)).ravel()


@cache
def _near_cells() -> NDArray[np.float64]:
    """Return the weight of each row of pixels for each row of cells: 1 in the cell's middle."""
    middles = (np.arange(_SMALL // _CELL) + 0.5) * _CELL - 0.5
    return np.maximum(1 - np.abs(middles[:, None] - np.arange(_SMALL)) / _CELL, 0)


@cache
def _patterns() -> NDArray[np.int64]:
    """Return the number of each binary pattern: those with two changes at most, then the rest."""
    bits = np.arange(256)[:, None] >> np.arange(8) & 1
    uniform = (bits != np.roll(bits, 1, axis=1)).sum(1) <= 2
    return np.where(uniform, np.cumsum(uniform) - 1, uniform.sum())


def _texture(grey: NDArray[Any]) -> NDArray[np.float64]:
    """Return how often each pattern of neighbours occurs in each cell."""
    side = _INNER - 2
    centre = grey[1:-1, 1:-1]
    codes = np.zeros(centre.shape, np.int64)
    for bit, (top, left) in enumerate(_NEIGHBOURS):
        codes |= (grey[top : top + side, left : left + side] >= centre).astype(np.int64) << bit
    numbers, count = _patterns()[codes], int(_patterns().max()) + 1
    cell = np.arange(side) * _CELLS // side
    cells = cell[:, None] * _CELLS + cell
    found = np.bincount((cells * count + numbers).ravel(), minlength=_CELLS**2 * count)
    return found.astype(np.float64)


def _whole(values: NDArray[np.floating[Any]]) -> Look:
    """Return a vector without its mean, at a fixed length, in whole numbers."""
    values = values - values.mean()
    values = values * (_SCALE / max(float(np.linalg.norm(values)), 1e-6))
    return np.clip(np.round(values), -127, 127).astype(np.int8)
