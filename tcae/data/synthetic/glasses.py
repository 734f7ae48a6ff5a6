"""Glasses: frames of many shapes with clear, tinted or dark lenses, fitted to a face."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from tcae.data.synthetic.head import PARTS, Head
from tcae.data.synthetic.solids import Solid, grid, joined, solid, tube

Array = NDArray[np.float64]

_CORNERS = 24  # of a rim
_BEND = 0.1  # how much the front curves back to the sides, per unit squared
_NEAR = 0.985  # brows, cheeks and lids move through the front a little without being seen
# Ranges of width, height, exponent of the outline (2 is an ellipse), slope outwards, and how much
# narrower it is below, in head units.
_SHAPES = {
    "round": ((0.70, 0.80), (0.66, 0.78), (2.0, 2.3), (0.0, 0.0), (0.0, 0.05)),
    "oval": ((0.76, 0.86), (0.50, 0.62), (2.1, 2.6), (0.0, 0.04), (0.0, 0.1)),
    "square": ((0.78, 0.90), (0.56, 0.72), (3.2, 5.0), (0.0, 0.04), (0.05, 0.2)),
    "narrow": ((0.78, 0.88), (0.40, 0.48), (3.0, 5.0), (0.0, 0.03), (0.0, 0.1)),
    "aviator": ((0.86, 0.98), (0.70, 0.84), (2.4, 2.8), (-0.05, 0.0), (0.25, 0.4)),
    "cat": ((0.80, 0.92), (0.52, 0.66), (2.3, 2.8), (0.08, 0.16), (0.1, 0.25)),
}
_FRAMES = np.array(  # black (twice), tortoise, brown, gold, silver, blue, red, pale
    [[22, 21, 22], [22, 21, 22], [84, 52, 28], [66, 40, 30], [196, 158, 92], [176, 178, 182],
     [36, 52, 104], [128, 30, 40], [212, 196, 186]]
)  # fmt: skip
_DARK = np.array([[20, 20, 22], [46, 32, 22], [26, 40, 30], [30, 36, 60]])


def glasses(
    random: np.random.Generator, head: Head, face: NDArray[np.float32], dark: bool
) -> Solid:
    """Return glasses on a face.

    Args:
        random: Random numbers for shape and colours.
        head: The mesh.
        face: (V, 3) neutral vertices.
        dark: Sunglasses, which hide the eyes.
    """
    shape = str(random.choice(list(_SHAPES)))
    width, height, power, slope, narrow = (random.uniform(*ends) for ends in _SHAPES[shape])
    size = random.uniform(1.02, 1.15) if dark else random.uniform(0.92, 1.05)
    width, height = width * size, height * size
    thick = random.choice([0.028, 0.05, 0.085], p=[0.35, 0.35, 0.3]) * random.uniform(0.8, 1.2)
    frame = _FRAMES[random.integers(len(_FRAMES))] * random.uniform(0.8, 1.2)
    gap = random.uniform(0.24, 0.34)
    middle = np.array([(width + gap) / 2, random.uniform(-0.14, -0.04)])
    outline = _outline(width, height, power, slope, narrow)
    front = _front(head, face, middle, width / 2 + thick, height / 2 + thick)
    rimless = thick < 0.04 and random.random() < 0.3
    pieces = [_lens(random, outline, middle, front, dark)]
    if not rimless:
        pieces.append(_rim(outline, middle, front, thick, random.uniform(1, 1.8), frame))
    pieces.append(
        _temple(
            head, face, middle + np.array([width / 2 + thick, 0.2 * height]), front, thick, frame
        )
    )
    both = [piece for half in pieces for piece in (half, half.mirrored())]
    return joined(
        [*both, _bridge(middle[0] - width / 2, middle[1] + 0.12 * height, front, thick, frame)]
    )


def _outline(width: float, height: float, power: float, slope: float, narrow: float) -> Array:
    """Return the outline (_CORNERS, 2) of the left lens around its middle, counter-clockwise."""
    turn = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
    x, y = (np.sign(f(turn)) * np.abs(f(turn)) ** (2 / power) for f in (np.cos, np.sin))
    x = x * (1 - narrow * np.clip(0.4 - y, 0, 1) ** 2)
    return np.stack([x * width / 2, y * height / 2 + slope * x], 1)


def _front(head: Head, face: NDArray[np.float32], middle: Array, half: float, high: float) -> float:
    """Return z of the front's middle: before lids, brows and cheeks, above the nose."""
    bare = face[_vertices(head, *(name for name in PARTS if name != "hair"))]
    x, y, z = np.abs(bare[:, 0]), bare[:, 1], bare[:, 2]
    behind = (np.abs(x - middle[0]) < half) & (np.abs(y - middle[1]) < 0.8 * high) & (z > -0.6)
    nose = (x < 0.1) & (np.abs(y - middle[1] - 0.1) < 0.12)
    lenses = np.quantile((z + _BEND * x * x)[behind & (x > 0.25)], 0.97)
    return float(max(lenses + 0.03, z[nose].max() + 0.02))


@cache
def _vertices(head: Head, *parts: str) -> NDArray[np.int32]:
    """Return the vertices of some parts of the head."""
    chosen = np.isin(head.parts, [PARTS.index(name) for name in parts])
    return np.unique(head.triangles[chosen])


def _placed(points: Array, front: float, lift: float = 0.0) -> Array:
    """Return points (n, 2) of the front in space."""
    return np.c_[points, front + lift - _BEND * points[:, 0] ** 2]


def _lens(
    random: np.random.Generator, outline: Array, middle: Array, front: float, dark: bool
) -> Solid:
    """Return the left lens: rings from its middle, so that lamps mirror in a part of it."""
    shares = np.array([0.02, 0.35, 0.7, 1.0])
    rings = np.concatenate([_placed(middle + share * outline, front) for share in shares])
    dome = np.repeat(1 - shares**2, len(outline)) * random.uniform(0.02, 0.05)
    rings[:, 2] += dome
    height = (rings[:, 1] - middle[1]) / np.ptp(outline[:, 1]) + 0.5  # 0 below to 1 above
    if dark:
        tint = _DARK[random.integers(len(_DARK))] * random.uniform(0.5, 1.3)
        fade = random.choice([0.0, random.uniform(0.1, 0.4)])  # some are lighter below
        clear = random.uniform(0.0, 0.06) + fade * (1 - height) ** 2
        clear = clear[:, None] * (0.4 + 0.6 * tint / tint.max())
        gloss = random.uniform(0.5, 0.95)
    else:
        tint = np.full(3, random.uniform(10, 45))  # what they mirror of the room
        colour = 1 - random.choice([0.0, random.uniform(0, 0.3)]) * random.random(3)
        clear = random.uniform(0.88, 0.98) * np.tile(colour, (len(rings), 1))
        gloss = random.choice([random.uniform(0.0, 0.1), random.uniform(0.9, 1.0)])
    sky = 0.6 + 0.8 * np.clip(height, 0, 1)[:, None]
    return solid(
        rings, grid(len(shares), len(outline), closed=True), tint * sky, gloss, clear, _NEAR
    )


def _rim(
    outline: Array, middle: Array, front: float, thick: float, brow: float, colour: Array
) -> Solid:
    """Return the left rim, `brow` times as thick above."""
    away = outline / np.linalg.norm(outline, axis=1, keepdims=True)
    broad = thick * np.interp(away[:, 1], [0.0, 0.8], [1, brow])[:, None]
    rows = [
        _placed(middle + outline - 0.1 * broad * away, front, 0.0),
        _placed(middle + outline + 0.5 * broad * away, front, 0.5 * thick),
        _placed(middle + outline + broad * away, front, -0.2 * thick),
    ]
    return solid(np.concatenate(rows), grid(3, len(outline), closed=True), colour, 0.35, near=_NEAR)


def _temple(
    head: Head, face: NDArray[np.float32], hinge: Array, front: float, thick: float, colour: Array
) -> Solid:
    """Return the left arm, from the front over the ear."""
    skin = face[_vertices(head, "skin")]
    ears = face[head.masks["ears"] > 0.7]
    ears = ears[ears[:, 0] > 0]
    top = ears[ears[:, 1].argmax()]
    level = skin[(np.abs(skin[:, 1] - hinge[1]) < 0.15) & (skin[:, 2] > top[2] + 0.25)]
    wide = max(float(level[:, 0].max()) + 0.04, hinge[0])
    start = _placed(hinge[None], front)[0]
    path = [start, [wide, hinge[1], start[2] - 0.25], [top[0] - 0.06, top[1] - 0.02, top[2] + 0.05]]
    tall = np.array([0.6, 0.5, 0.35]) * (thick + 0.03)
    points, triangles = tube(path, np.stack([np.full(3, 0.02), tall], 1), 6, guide=(0, 1, 0))
    ring = len(points) // 6
    near = np.repeat(np.interp(np.arange(ring), [3, 4, 5], [_NEAR, 0.995, 1.0]), 6)
    return solid(points, triangles, colour, 0.3, near=near)


def _bridge(inner: float, height: float, front: float, thick: float, colour: Array) -> Solid:
    """Return the piece over the nose."""
    x = np.linspace(-inner, inner, 5)
    path = _placed(np.stack([x, height + 0.05 * (1 - (x / inner) ** 2)], 1), front)
    points, triangles = tube(path, np.full(5, max(0.5 * thick, 0.016)), 6)
    return solid(points, triangles, colour, 0.35, near=_NEAR)
