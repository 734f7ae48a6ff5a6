"""What the mesh knows, drawn into the texture plane, where skin is painted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tcae.data.synthetic.head import Head
from tcae.data.synthetic.raster import trace, weights_at

Array = NDArray[np.float32]


def bake(head: Head, values: Array, size: int) -> Array:
    """Vertex values as a picture in the texture plane.

    Baking `head.vertices` gives every texel its place on the mean head, so that paint can be
    decided by where a point is ("below the nose", "within 0.1 of this line").

    Args:
        head: The mesh.
        values: (V, C) float32.
        size: Side of the texture.

    Returns:
        (size, size, C) float32; texels that no triangle covers are NaN.
    """
    texels, triangle = _covered(head, size)
    corners = head.triangles[triangle[texels]]
    points = (head.uv * size - 0.5).astype(np.float32)
    rows, columns = np.nonzero(texels)
    flat = np.ones(len(points), np.float32)
    weights = np.array(
        [
            weights_at(points, flat, head.uv_triangles[t], float(x), float(y))
            for t, x, y in zip(triangle[texels], columns, rows, strict=True)
        ],
        np.float32,
    )
    picture = np.full((size, size, values.shape[1]), np.nan, np.float32)
    picture[texels] = (values[corners] * weights[..., None]).sum(1)
    return picture


def part_map(head: Head, size: int) -> NDArray[np.int8]:
    """(size, size) int8 index into `PARTS` of every texel, -1 where no triangle is."""
    texels, triangle = _covered(head, size)
    return np.where(texels, head.parts[triangle].astype(np.int8), np.int8(-1))


def _covered(head: Head, size: int) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
    points = (head.uv * size - 0.5).astype(np.float32)
    both = np.ones(len(head.triangles), np.bool_)
    flat = np.ones(len(points), np.float32)
    triangle, _ = trace(points, flat, head.uv_triangles, both, size, size, 1)
    return triangle >= 0, triangle
