"""Solids on and before the head, drawn over its picture."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tcae.data.synthetic.lighting import glance, halfway, lit
from tcae.data.synthetic.raster import trace, vertex_normals, weights_at
from tcae.data.synthetic.scene import Light
from tcae.data.synthetic.solids import SolidView

Array = NDArray[np.float32]
Ids = NDArray[np.int32]

_SAMPLES = 3  # in a row of a pixel: rims are thinner than pixels
_compiled = njit(cache=True, nogil=True)


def draw_over(
    picture: NDArray[np.uint8], near: Array, drawn: SolidView, light: Light, reach: Array
) -> None:
    """Draw a solid over the picture of a head, in place.

    Args:
        picture: (H, W, 3) uint8.
        near: (H * s, W * s) inverse of the depth that each of s x s samples of a pixel shows.
        drawn: The solid in the same view.
        light: Lamps and surroundings.
        reach: (n, L) from `tcae.data.synthetic.shadows.reach`, of the solid's vertices.
    """
    solid, view = drawn.solid, drawn.view
    size = np.array(picture.shape[1::-1])
    low = np.clip(np.floor(view.pixels.min(0)), 0, size).astype(int)
    high = np.clip(np.ceil(view.pixels.max(0)) + 1, 0, size).astype(int)
    if (low >= high).any():
        return
    part = np.s_[low[1] : high[1], low[0] : high[0]]
    coarse = len(near) // len(picture)
    pixels = view.pixels - low.astype(np.float32)
    one_sided = np.zeros(len(solid.triangles), np.bool_)
    width, height = (high - low).tolist()
    nearest, inverse = trace(
        pixels, view.depth, solid.triangles, one_sided, height, width, _SAMPLES
    )
    normals = vertex_normals(view.space, solid.triangles)
    open_ = np.ones(len(normals), np.float32)
    directions, colours = light.directions.astype(np.float32), light.colours.astype(np.float32)
    bright = lit(normals, open_, light.ambient.astype(np.float32), directions, colours, reach)
    values = [normals, solid.paint * bright, open_[:, None], solid.clear, solid.gloss[:, None]]
    _blend(
        picture[part],
        nearest,
        inverse,
        near[low[1] * coarse : high[1] * coarse, low[0] * coarse : high[0] * coarse],
        pixels * np.float32(_SAMPLES) + np.float32(0.5 * (_SAMPLES - 1)),
        view.depth,
        solid.triangles,
        np.concatenate(values, 1),
        halfway(directions),
        colours,
    )


@_compiled
def _blend(
    picture: NDArray[np.uint8],
    nearest: Ids,
    inverse: Array,
    behind: Array,
    pixels: Array,
    depth: Array,
    triangles: Ids,
    values: Array,
    halves: Array,
    colours: Array,
) -> None:
    """Blend by `values` (n, 11): normal, colour, openness, what passes, gloss."""
    height, width = picture.shape[:2]
    samples, coarse = nearest.shape[0] // height, behind.shape[0] // height
    point, colour = np.empty(11, np.float32), np.empty(3, np.float32)
    passes = np.empty(3, np.float32)
    for row in range(height):
        for column in range(width):
            colour[:] = 0
            passes[:] = 0
            hit, last = 0, -1
            for i in range(samples * samples):
                y, x = row * samples + i // samples, column * samples + i % samples
                t = nearest[y, x]
                if t < 0 or inverse[y, x] < behind[y * coarse // samples, x * coarse // samples]:
                    continue
                hit += 1
                if t != last:  # one triangle looks much the same all over a pixel
                    _look_at(point, pixels, depth, triangles[t], values, halves, colours, x, y)
                    last = t
                for k in range(3):
                    colour[k] += point[3 + k]
                    passes[k] += point[7 + k]
            if hit == 0:
                continue
            count = samples * samples
            for k in range(3):
                there = picture[row, column, k] / np.float32(255)
                value = (colour[k] + (count - hit + passes[k]) * there * there) / count
                picture[row, column, k] = np.uint8(min(np.sqrt(value) * 255 + 0.5, 255.0))


@_compiled
def _look_at(
    point: Array,
    pixels: Array,
    depth: Array,
    corners: Ids,
    values: Array,
    halves: Array,
    colours: Array,
    x: int,
    y: int,
) -> None:
    """Interpolate the values of a triangle's corners into `point`, with mirrored lamps."""
    a, b, c = corners[0], corners[1], corners[2]
    u, v, w = weights_at(pixels, depth, a, b, c, x, y)
    for k in range(11):
        point[k] = u * values[a, k] + v * values[b, k] + w * values[c, k]
    if point[10] > 0:
        glance(point, point[10], halves, colours, point[3:6])
