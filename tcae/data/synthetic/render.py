"""Pictures of the head: light on painted triangles, several samples a pixel."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tcae.data.synthetic.head import Head
from tcae.data.synthetic.raster import trace, vertex_normals, weights_at
from tcae.data.synthetic.scene import Light, Surface, View

Array = NDArray[np.float32]
Ids = NDArray[np.int32]

SAMPLES = 2  # in a row of a pixel
_SOFT = np.array([0.3, 0.12, 0.06], np.float32)  # how far red, green, blue light creeps round skin
_compiled = njit(cache=True, nogil=True)


def render(
    head: Head,
    view: View,
    surface: Surface,
    light: Light,
    background: NDArray[np.uint8],
    wrinkles: Array | None = None,
) -> NDArray[np.uint8]:
    """The picture of a head.

    Args:
        head: The mesh.
        view: From `look`.
        surface: Paint.
        light: Lamps and surroundings.
        background: (H, W, 3) uint8 what is seen beside the head; its size is the picture's.
        wrinkles: (W, 2) strengths of the surface's wrinkle patterns, left and right, in [0, 1];
            None for none.

    Returns:
        (H, W, 3) uint8.
    """
    height, width = background.shape[:2]
    nearest, _ = trace(
        view.pixels, view.depth, head.triangles, head.two_sided, height, width, SAMPLES
    )
    if wrinkles is None:
        wrinkles = np.zeros((surface.wrinkles.shape[2], 2), np.float32)
    at_samples: Array = view.pixels * np.float32(SAMPLES) + np.float32(0.5 * (SAMPLES - 1))
    return _shade(
        nearest,
        at_samples,
        view.depth,
        vertex_normals(view.space, head.triangles),
        head.occlusion,
        head.triangles,
        head.uv,
        head.uv_triangles,
        head.parts,
        surface.texture,
        surface.wrinkles,
        np.asarray(wrinkles, np.float32),
        light.ambient.astype(np.float32),
        light.directions.astype(np.float32),
        light.colours.astype(np.float32),
        background,
    )


@_compiled
def _shade(
    nearest: Ids,
    pixels: Array,
    depth: Array,
    normals: Array,
    occlusion: Array,
    triangles: Ids,
    uv: Array,
    uv_triangles: Ids,
    parts: NDArray[np.uint8],
    texture: NDArray[np.uint8],
    wrinkle_maps: NDArray[np.int8],
    wrinkles: Array,
    ambient: Array,
    directions: Array,
    colours: Array,
    background: NDArray[np.uint8],
) -> NDArray[np.uint8]:
    height, width = background.shape[:2]
    samples = nearest.shape[0] // height
    picture = np.empty((height, width, 3), np.uint8)
    paint = np.empty(4, np.float32)
    colour, total = np.empty(3, np.float32), np.empty(3, np.float32)
    for row in range(height):
        for column in range(width):
            total[:] = 0
            empty = 0
            for i in range(samples * samples):
                y, x = row * samples + i // samples, column * samples + i % samples
                t = nearest[y, x]
                if t < 0:
                    empty += 1
                    continue
                a, b, c = triangles[t]
                u, v, w = weights_at(pixels, depth, triangles[t], x, y)
                ua, ub, uc = uv_triangles[t]
                s = u * uv[ua, 0] + v * uv[ub, 0] + w * uv[uc, 0]
                r = u * uv[ua, 1] + v * uv[ub, 1] + w * uv[uc, 1]
                _fetch(texture, s, r, paint)
                nx = u * normals[a, 0] + v * normals[b, 0] + w * normals[c, 0]
                ny = u * normals[a, 1] + v * normals[b, 1] + w * normals[c, 1]
                nz = u * normals[a, 2] + v * normals[b, 2] + w * normals[c, 2]
                open_ = u * occlusion[a] + v * occlusion[b] + w * occlusion[c]
                fold = np.float32(1)
                if parts[t] == 0:
                    fold = _folds(wrinkle_maps, wrinkles, s, r)
                _lit(nx, ny, nz, open_, paint, ambient, directions, colours, colour)
                for channel in range(3):
                    total[channel] += colour[channel] * fold
            for channel in range(3):
                behind = background[row, column, channel] / np.float32(255)
                value = (total[channel] + empty * behind * behind) / (samples * samples)
                picture[row, column, channel] = np.uint8(min(np.sqrt(value) * 255 + 0.5, 255.0))
    return picture


@_compiled
def _fetch(texture: NDArray[np.uint8], s: float, t: float, paint: Array) -> None:
    """Bilinear sample of the texture into `paint`: linear red, green, blue, gloss."""
    size = texture.shape[0]
    x = min(max(s * size - np.float32(0.5), 0), size - np.float32(1.001))
    y = min(max(t * size - np.float32(0.5), 0), size - np.float32(1.001))
    column, row = int(x), int(y)
    fx, fy = np.float32(x - column), np.float32(y - row)
    for channel in range(4):
        top = texture[row, column, channel] * (1 - fx) + texture[row, column + 1, channel] * fx
        low = texture[row + 1, column, channel] * (1 - fx)
        low += texture[row + 1, column + 1, channel] * fx
        value = (top * (1 - fy) + low * fy) / np.float32(255)
        paint[channel] = value * value if channel < 3 else value


@_compiled
def _folds(maps: NDArray[np.int8], strengths: Array, s: float, t: float) -> float:
    """How wrinkles change the brightness at a texture point of the skin."""
    size = maps.shape[0]
    x, y = min(int(s * size), size - 1), min(int(t * size), size - 1)
    left = min(max((s - np.float32(0.5)) * 10 + np.float32(0.5), 0), 1)
    shade = np.float32(1)
    for i in range(len(strengths)):
        strength = strengths[i, 0] * left + strengths[i, 1] * (1 - left)
        shade += strength * maps[y, x, i] / np.float32(127)
    return max(shade, np.float32(0))


@_compiled
def _lit(
    x: float,
    y: float,
    z: float,
    open_: float,
    paint: Array,
    ambient: Array,
    directions: Array,
    colours: Array,
    out: Array,
) -> None:
    """Light that a point with normal (x, y, z) sends to the viewer, linear, into `out`."""
    length = np.sqrt(x * x + y * y + z * z)
    x, y, z = x / length, y / length, z / length
    for channel in range(3):
        h = ambient[:, channel]
        out[channel] = h[0] + h[1] * y + h[2] * z + h[3] * x + h[4] * x * y + h[5] * y * z
        out[channel] += h[6] * (3 * z * z - 1) + h[7] * x * z + h[8] * (x * x - y * y)
        out[channel] = max(out[channel], np.float32(0)) * open_
    shine = np.float32(0.35) + np.float32(0.65) * open_
    gloss = paint[3]
    bright_r = bright_g = bright_b = np.float32(0)
    for i in range(len(directions)):
        dx, dy, dz = directions[i]
        facing = x * dx + y * dy + z * dz
        for channel in range(3):
            soft = _SOFT[channel]
            amount = max((facing + soft) / (1 + soft), np.float32(0))
            out[channel] += amount * colours[i, channel] * shine
        half = np.sqrt(dx * dx + dy * dy + (dz + 1) * (dz + 1))
        if facing > 0 and half > 0 and gloss > 0:
            mirror = max((x * dx + y * dy + z * (dz + 1)) / half, np.float32(0))
            m8 = mirror**2
            m8 = m8 * m8
            m8 = m8 * m8
            m64 = m8 * m8
            m64 = m64 * m64
            m64 = m64 * m64
            spot = gloss * (m8 + gloss * (4 * m64 - m8)) * shine
            bright_r += spot * colours[i, 0]
            bright_g += spot * colours[i, 1]
            bright_b += spot * colours[i, 2]
    out[0] = out[0] * paint[0] + bright_r
    out[1] = out[1] * paint[1] + bright_g
    out[2] = out[2] * paint[2] + bright_b
