"""Pictures of the head: light on painted triangles, several samples a pixel."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tcae.data.synthetic.head import Head
from tcae.data.synthetic.lighting import glance, halfway, lit
from tcae.data.synthetic.overlay import draw_over
from tcae.data.synthetic.raster import trace, vertex_normals, weights_at
from tcae.data.synthetic.scene import Light, Surface, View
from tcae.data.synthetic.shadows import reach
from tcae.data.synthetic.solids import SolidView

Array = NDArray[np.float32]
Ids = NDArray[np.int32]

SAMPLES = 2  # in a row of a pixel
_compiled = njit(cache=True, nogil=True)


def render(
    head: Head,
    view: View,
    surface: Surface,
    light: Light,
    background: NDArray[np.uint8],
    wrinkles: Array | None = None,
    drawn: SolidView | None = None,
) -> NDArray[np.uint8]:
    """Render the picture of a head.

    Args:
        head: The mesh.
        view: The view from `look`.
        surface: Its paint.
        light: Lamps and surroundings.
        background: (H, W, 3) uint8, the picture behind the head. Its size is that of the result.
        wrinkles: (W, 2) strengths of the surface's wrinkle patterns, left and right, in [0, 1];
            None for none.
        drawn: What is on and before the head.

    Returns:
        (H, W, 3) uint8.
    """
    height, width = background.shape[:2]
    nearest, near = trace(
        view.pixels, view.depth, head.triangles, head.two_sided, height, width, SAMPLES
    )
    at_samples: Array = view.pixels * np.float32(SAMPLES) + np.float32(0.5 * (SAMPLES - 1))
    normals = vertex_normals(view.space, head.triangles)
    shares = _reach(head, view, light, drawn)
    directions, colours = light.directions.astype(np.float32), light.colours.astype(np.float32)
    falls = lit(
        normals, head.occlusion, light.ambient.astype(np.float32), directions, colours,
        shares[: len(normals)],
    )  # fmt: skip
    if wrinkles is None:
        wrinkles = np.zeros((surface.wrinkles.shape[2], 2), np.float32)
    picture = _shade(
        nearest,
        at_samples,
        view.depth,
        np.concatenate([normals, falls, head.occlusion[:, None]], 1),
        head.triangles,
        head.uv,
        head.uv_triangles,
        head.parts,
        surface.texture,
        surface.wrinkles,
        np.flatnonzero(np.abs(wrinkles).max(1) > 0.01),
        wrinkles.astype(np.float32),
        halfway(directions),
        colours,
        background,
    )
    if drawn is not None:
        draw_over(picture, near, drawn, light, shares[len(normals) :])
    return picture


def _reach(head: Head, view: View, light: Light, drawn: SolidView | None) -> Array:
    """Return `reach` of the head's vertices and of those of what is drawn over it."""
    triangles, two_sided = head.triangles, head.two_sided
    if drawn is None:
        return reach(view.space, triangles, two_sided, light)
    if light.shadow > 0:
        casting = drawn.solid.casting
        triangles = np.concatenate([triangles, casting + np.int32(len(view.space))])
        two_sided = np.pad(two_sided, (0, len(casting)), constant_values=True)
    return reach(np.concatenate([view.space, drawn.view.space]), triangles, two_sided, light)


@_compiled
def _shade(
    nearest: Ids,
    pixels: Array,
    depth: Array,
    values: Array,
    triangles: Ids,
    uv: Array,
    uv_triangles: Ids,
    parts: NDArray[np.uint8],
    texture: NDArray[np.uint8],
    wrinkle_maps: NDArray[np.int8],
    active: NDArray[np.int64],
    wrinkles: Array,
    halves: Array,
    colours: Array,
    background: NDArray[np.uint8],
) -> NDArray[np.uint8]:
    """Shade every pixel by `values` (V, 7): normal, light, openness of the vertices."""
    height, width = background.shape[:2]
    samples = nearest.shape[0] // height
    picture = np.empty((height, width, 3), np.uint8)
    paint, point = np.empty(4, np.float32), np.empty(7, np.float32)
    colour = np.empty(3, np.float32)
    for row in range(height):
        for column in range(width):
            colour[:] = 0
            empty = 0
            for i in range(samples * samples):
                y, x = row * samples + i // samples, column * samples + i % samples
                t = nearest[y, x]
                if t < 0:
                    empty += 1
                    continue
                a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
                u, v, w = weights_at(pixels, depth, a, b, c, x, y)
                ua, ub, uc = uv_triangles[t, 0], uv_triangles[t, 1], uv_triangles[t, 2]
                s = u * uv[ua, 0] + v * uv[ub, 0] + w * uv[uc, 0]
                r = u * uv[ua, 1] + v * uv[ub, 1] + w * uv[uc, 1]
                for k in range(7):
                    point[k] = u * values[a, k] + v * values[b, k] + w * values[c, k]
                _fetch(texture, s, r, paint)
                fold = np.float32(1)
                if parts[t] == 0 and len(active) > 0:
                    fold = _folds(wrinkle_maps, active, wrinkles, s, r)
                for k in range(3):
                    colour[k] += paint[k] * point[3 + k] * fold
                if paint[3] > 0:
                    glance(point, paint[3], halves, colours, colour)
            for k in range(3):
                behind = background[row, column, k] / np.float32(255)
                value = (colour[k] + empty * behind * behind) / (samples * samples)
                picture[row, column, k] = np.uint8(min(np.sqrt(value) * 255 + 0.5, 255.0))
    return picture


@_compiled
def _fetch(texture: NDArray[np.uint8], s: float, t: float, paint: Array) -> None:
    """Sample the texture bilinearly into `paint`: linear red, green, blue, and gloss."""
    size = texture.shape[0]
    x = min(max(np.float32(s * size - 0.5), np.float32(0)), np.float32(size - 1.001))
    y = min(max(np.float32(t * size - 0.5), np.float32(0)), np.float32(size - 1.001))
    column, row = int(x), int(y)
    fx, fy = x - np.float32(column), y - np.float32(row)
    a, b = (1 - fx) * (1 - fy), fx * (1 - fy)
    c, d = (1 - fx) * fy, fx * fy
    for k in range(4):
        value = a * texture[row, column, k] + b * texture[row, column + 1, k]
        value += c * texture[row + 1, column, k] + d * texture[row + 1, column + 1, k]
        value *= np.float32(1 / 255)
        paint[k] = value * value if k < 3 else value


@_compiled
def _folds(
    maps: NDArray[np.int8], active: NDArray[np.int64], strengths: Array, s: float, t: float
) -> float:
    """Return the change of brightness by wrinkles at a texture point of the skin."""
    size = maps.shape[0]
    x, y = min(int(s * size), size - 1), min(int(t * size), size - 1)
    left = min(max((s - 0.5) * 10 + 0.5, 0.0), 1.0)
    shade = 1.0
    for i in active:
        strength = strengths[i, 0] * left + strengths[i, 1] * (1 - left)
        shade += strength * maps[y, x, i] / 127
    return max(shade, 0.0)
