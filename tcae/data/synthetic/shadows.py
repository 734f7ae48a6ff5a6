"""Shadows that the head, its hair and what is on or before it cast, and those of a window."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tcae.data.synthetic.raster import trace
from tcae.data.synthetic.scene import Light

Array = NDArray[np.float32]
Ids = NDArray[np.int32]

_SIDE = 64  # of the picture that the lamp takes
_ZOOM = np.float32(13)  # its pixels per head unit
_FAR = np.float32(1000)  # head units: a lamp's rays are nearly parallel
_MIDDLE = np.array([0, -0.4, -0.2], np.float32)
_BIAS, _RAMP = np.float32(0.07), np.float32(0.1)  # head units: how far behind is in the shadow
_compiled = njit(cache=True, nogil=True)


def reach(space: Array, triangles: Ids, two_sided: NDArray[np.bool_], light: Light) -> Array:
    """Return the share of each lamp's light that reaches each vertex.

    Only the strongest lamp casts shadows, as dark as `Light.shadow`; the others fill them.

    Args:
        space: (V, 3) posed vertices.
        triangles: (T, 3).
        two_sided: (T,) whether a triangle is visible from behind.
        light: The light.

    Returns:
        (V, L) float32.
    """
    shares = np.ones((len(space), len(light.directions)), np.float32)
    if light.shadow == 0 or not len(light.directions):
        return shares
    lamp = int(light.colours.sum(1).argmax())
    axes = _axes(light.directions[lamp])
    pixels, depth = _from_lamp(space, axes)
    _, near = trace(pixels, depth, triangles, two_sided, _SIDE, _SIDE, 1)
    free = _free(pixels, depth, near)
    if len(light.window):
        free *= _through_window(pixels, light.window)
    shares[:, lamp] = 1 - np.float32(light.shadow) * (1 - free)
    return shares


def _axes(direction: Array) -> Array:
    """Return the axes (3, 3) of the picture that a lamp takes: across, down, towards the lamp."""
    x, y, z = direction.tolist()
    across = (z, 0.0, -x) if abs(y) < 0.9 else (-y, x, 0.0)  # at right angles to the upright
    length = math.hypot(*across)
    a, b, c = (value / length for value in across)
    down = (z * b - y * c, x * c - z * a, y * a - x * b)
    return np.array([[a, b, c], down, [x, y, z]], np.float32)


@_compiled
def _from_lamp(space: Array, axes: Array) -> tuple[Array, Array]:
    """Return the pixels (V, 2) of vertices in the picture that a lamp takes, and their depth."""
    pixels, depth = np.empty((len(space), 2), np.float32), np.empty(len(space), np.float32)
    half = np.float32(0.5 * (_SIDE - 1))
    for v in range(len(space)):
        x, y, z = space[v, 0], space[v, 1] - _MIDDLE[1], space[v, 2] - _MIDDLE[2]
        for k in range(2):
            pixels[v, k] = (x * axes[k, 0] + y * axes[k, 1] + z * axes[k, 2]) * _ZOOM + half
        depth[v] = _FAR - (x * axes[2, 0] + y * axes[2, 1] + z * axes[2, 2])
    return pixels, depth


def _through_window(pixels: Array, waves: Array) -> Array:
    """Return the light (V,) that bars or leaves before a window let through."""
    place, total = pixels / _ZOOM, np.zeros(len(pixels), np.float32)
    for x, y, phase in waves:
        total += np.sin(place[:, 0] * x + place[:, 1] * y + phase)
    t = np.clip(total / np.sqrt(np.float32(len(waves))) * np.float32(1.5) + np.float32(0.5), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


@_compiled
def _free(pixels: Array, depth: Array, near: Array) -> Array:
    """Return the share (V,) of a lamp's rays, a few around each vertex, that nothing blocks."""
    free = np.ones(len(depth), np.float32)
    side = near.shape[0]
    for v in range(len(depth)):
        x, y = pixels[v, 0], pixels[v, 1]
        if not (x >= 1 and y >= 1 and x < side - 3 and y < side - 3):
            continue
        column, row = int(x), int(y)
        fx, fy = x - np.float32(column), y - np.float32(row)
        blocked = np.float32(0)
        for j in range(4):  # a box of three pixels, moved by parts of a pixel
            wy = 1 - fy if j == 0 else (fy if j == 3 else np.float32(1))
            for i in range(4):
                wx = 1 - fx if i == 0 else (fx if i == 3 else np.float32(1))
                inverse = near[row + j - 1, column + i - 1]
                if inverse > 0:
                    behind = (depth[v] - 1 / inverse - _BIAS) / _RAMP
                    blocked += wx * wy * min(max(behind, np.float32(0)), np.float32(1))
        free[v] = 1 - blocked / 9
    return free
