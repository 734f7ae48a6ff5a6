"""A rasteriser for one mesh: the triangle at each sample, and the place in it.

It uses numba without fast-math, so the same input gives the same picture up to the rounding of the
machine's elementary functions.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float32]
Ids = NDArray[np.int32]

_compiled = njit(cache=True, nogil=True)


@_compiled
def trace(
    pixels: Array,
    depth: Array,
    triangles: Ids,
    two_sided: NDArray[np.bool_],
    height: int,
    width: int,
    samples: int,
) -> tuple[Ids, Array]:
    """Return the nearest triangle at every sample.

    Args:
        pixels: (V, 2) projected vertices. Whole numbers are pixel centres.
        depth: (V,) distance along the camera's axis, positive.
        triangles: (T, 3) vertices, counter-clockwise from outside.
        two_sided: (T,) whether the back of a triangle is visible too.
        height: Rows of the picture.
        width: Columns.
        samples: Samples in a row of a pixel; 1 is the pixel's centre.

    Returns:
        (height * samples, width * samples) int32 triangle, -1 for none, and the inverse of its
        depth (0 for none).
    """
    rows, columns = height * samples, width * samples
    nearest = np.full((rows, columns), np.int32(-1), np.int32)
    inverse = np.zeros((rows, columns), np.float32)
    shift = np.float32(0.5 * (samples - 1))
    zoom = np.float32(samples)
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ax, ay = pixels[a, 0] * zoom + shift, pixels[a, 1] * zoom + shift
        bx, by = pixels[b, 0] * zoom + shift, pixels[b, 1] * zoom + shift
        cx, cy = pixels[c, 0] * zoom + shift, pixels[c, 1] * zoom + shift
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        # Rows run downwards: what faces us runs clockwise, its area is negative.
        if area == 0 or (area > 0 and not two_sided[t]):
            continue
        left, right = max(np.ceil(min(ax, bx, cx)), 0), min(np.floor(max(ax, bx, cx)), columns - 1)
        top, bottom = max(np.ceil(min(ay, by, cy)), 0), min(np.floor(max(ay, by, cy)), rows - 1)
        unit = np.float32(1) / area
        za, zb, zc = 1 / depth[a], 1 / depth[b], 1 / depth[c]
        for y in range(int(top), int(bottom) + 1):
            for x in range(int(left), int(right) + 1):
                u = ((cx - bx) * (y - by) - (cy - by) * (x - bx)) * unit
                v = ((ax - cx) * (y - cy) - (ay - cy) * (x - cx)) * unit
                w = np.float32(1) - u - v
                if u >= 0 and v >= 0 and w >= 0:
                    near = u * za + v * zb + w * zc
                    if near > inverse[y, x]:
                        inverse[y, x] = near
                        nearest[y, x] = t
    return nearest, inverse


@_compiled
def weights_at(
    pixels: Array, depth: Array, a: int, b: int, c: int, x: float, y: float
) -> tuple[float, float, float]:
    """Return the weights of a triangle's corners a, b, c at the surface point at (x, y).

    They are weights in space (perspective divided out), not in the picture.
    """
    ax, ay, bx, by = pixels[a, 0], pixels[a, 1], pixels[b, 0], pixels[b, 1]
    cx, cy = pixels[c, 0], pixels[c, 1]
    u = ((cx - bx) * (y - by) - (cy - by) * (x - bx)) / depth[a]
    v = ((ax - cx) * (y - cy) - (ay - cy) * (x - cx)) / depth[b]
    w = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / depth[c]
    unit = 1 / (u + v + w)
    return u * unit, v * unit, w * unit


@_compiled
def vertex_normals(space: Array, triangles: Ids) -> Array:
    """Return the unit normals (V, 3), each the mean of its triangles' normals by area."""
    normals = np.zeros_like(space)
    for t in range(len(triangles)):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        px, py, pz = space[b, 0] - space[a, 0], space[b, 1] - space[a, 1], space[b, 2] - space[a, 2]
        qx, qy, qz = space[c, 0] - space[a, 0], space[c, 1] - space[a, 1], space[c, 2] - space[a, 2]
        nx, ny, nz = py * qz - pz * qy, pz * qx - px * qz, px * qy - py * qx
        for k in range(3):
            v = triangles[t, k]
            normals[v, 0] += nx
            normals[v, 1] += ny
            normals[v, 2] += nz
    for v in range(len(normals)):
        x, y, z = normals[v, 0], normals[v, 1], normals[v, 2]
        length = np.sqrt(x * x + y * y + z * z) + np.float32(1e-12)
        normals[v, 0], normals[v, 1], normals[v, 2] = x / length, y / length, z / length
    return normals
