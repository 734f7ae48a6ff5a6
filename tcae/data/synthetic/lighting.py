"""How lamps and surroundings light a surface."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float32]

_SOFT = np.array([0.3, 0.12, 0.06], np.float32)  # how far red, green, blue light creeps round skin
_DIRECT_DARK = np.float32(0.35)  # share of a lamp's light that reaches the deepest corners
_compiled = njit(cache=True, nogil=True)


def halfway(directions: Array) -> Array:
    """Return the unit normals (L, 3) of mirrors that show the lamps to the camera."""
    halves = directions + np.array([0, 0, 1], np.float32)
    halves /= np.linalg.norm(halves, axis=1, keepdims=True) + np.float32(1e-6)
    return halves


@_compiled
def lit(
    normals: Array,
    occlusion: Array,
    ambient: Array,
    directions: Array,
    colours: Array,
    reach: Array,
) -> Array:
    """Return the light that falls on each vertex, (V, 3) linear.

    Args:
        normals: (V, 3) unit normals.
        occlusion: (V,) share of the surrounding light that reaches a vertex.
        ambient: See `Light`.
        directions: See `Light`.
        colours: See `Light`.
        reach: (V, L) share of each lamp's light that nothing blocks.
    """
    lit = np.empty_like(normals)
    for v in range(len(normals)):
        x, y, z = normals[v, 0], normals[v, 1], normals[v, 2]
        direct = _DIRECT_DARK + (1 - _DIRECT_DARK) * occlusion[v]
        for c in range(3):
            around = ambient[0, c] + ambient[1, c] * y + ambient[2, c] * z + ambient[3, c] * x
            around += ambient[4, c] * x * y + ambient[5, c] * y * z + ambient[7, c] * x * z
            around += ambient[6, c] * (3 * z * z - 1) + ambient[8, c] * (x * x - y * y)
            lit[v, c] = max(around, 0) * occlusion[v]
            for i in range(len(directions)):
                facing = x * directions[i, 0] + y * directions[i, 1] + z * directions[i, 2]
                soft = (facing + _SOFT[c]) / (1 + _SOFT[c])
                lit[v, c] += max(soft, 0) * colours[i, c] * direct * reach[v, i]
    return lit


@_compiled
def glance(point: Array, gloss: float, halves: Array, colours: Array, colour: Array) -> None:
    """Add the mirror images of the lamps: wide and dim on skin, small and bright on eyes."""
    length = np.sqrt(point[0] ** 2 + point[1] ** 2 + point[2] ** 2) + np.float32(1e-9)
    for i in range(len(halves)):
        mirror = point[0] * halves[i, 0] + point[1] * halves[i, 1] + point[2] * halves[i, 2]
        mirror = mirror / length
        if mirror > 0.6:
            m8 = mirror * mirror
            m8 = m8 * m8
            m8 = m8 * m8
            m128 = m8 * m8
            m128 = m128 * m128
            m128 = m128 * m128
            m128 = m128 * m128
            spot = gloss * (m8 + gloss * (2 * m128 - m8))
            spot *= _DIRECT_DARK + (1 - _DIRECT_DARK) * point[6]
            for k in range(3):
                colour[k] += spot * colours[i, k]
