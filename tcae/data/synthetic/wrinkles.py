"""Wrinkles of the skin from action units."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tcae.data.synthetic.atlas import Atlas, Field, ramp
from tcae.data.synthetic.head import PARTS, UNITS

Array = NDArray[np.float64]

# Pattern -> how much of it each unit (FACS number) brings at full intensity.
PATTERNS = {
    "forehead": {1: 0.8, 2: 0.8, 4: -0.4},
    "glabella": {4: 1.0, 9: 0.4},
    "crow": {6: 1.0, 12: 0.2, 7: 0.2},
    "lids": {6: 0.7, 7: 0.7},
    "nose": {9: 1.0, 10: 0.2},
    "fold": {12: 0.7, 10: 0.7, 9: 0.5, 6: 0.2},
    "dimple": {14: 1.0, 12: 0.2},
    "chin": {17: 1.0, 15: 0.3},
    "corner": {15: 1.0, 20: 0.4},
    "lip": {24: 0.8, 23: 0.8},
}


def strengths(intensities: NDArray[np.floating], depth: float) -> Field:
    """Return the strength of each wrinkle pattern.

    Args:
        intensities: (A, 2) of `UNITS`.
        depth: Depth of the person's wrinkles, larger for older people.

    Returns:
        (W, 2) in [0, 1], of `PATTERNS`, left and right.
    """
    return np.clip(depth * _matrix() @ intensities, 0, 1).astype(np.float32)


@cache
def _matrix() -> Field:
    return np.array(
        [[units.get(number, 0.0) for number in UNITS] for units in PATTERNS.values()], np.float32
    )


@cache
def wrinkle_maps(size: int) -> NDArray[np.int8]:
    """Return the change of brightness by each of `PATTERNS`: (size, size, W) int8 in 1/127."""
    atlas = Atlas.of(size)
    x, y, z = np.abs(atlas.place[..., 0]), atlas.place[..., 1], atlas.place[..., 2]
    skin = (atlas.part == PARTS.index("skin")) * ramp(z, -0.8, -0.5)

    def furrow(distance: ArrayLike, width: float) -> Array:
        """Return a dark line with bright edges, at `distance` from its middle."""
        t = np.asarray(distance, np.float64) / width
        return np.asarray(np.exp(-0.5 * t * t) - 0.35 * np.exp(-0.5 * (np.abs(t) - 2.2) ** 2))

    def waves(phase: ArrayLike) -> Array:
        return np.asarray(np.clip(1.6 * np.sin(np.asarray(phase)) - 0.6, -0.5, 1))

    bend = y - 0.1 * np.cos(x * 3.0)
    fan = np.arctan2(y + 0.02, x - 0.62)  # around the outer corner of the eye
    fold = 0.22 + (-0.6 - y) * 0.5
    maps = {
        "forehead": 0.5 * waves(bend * 36) * ramp(y, 0.42, 0.55) * ramp(y, 1.05, 0.85)
        * ramp(x, 0.75, 0.45),
        "glabella": furrow(x - 0.095 - 0.06 * (y - 0.25), 0.022) * 0.8 * ramp(y, 0.05, 0.18)
        * ramp(y, 0.62, 0.45)
        + 0.35 * furrow(y - 0.09, 0.02) * ramp(x, 0.14, 0.08),
        "crow": 0.6 * waves(fan * 14) * ramp(x, 0.72, 0.8) * ramp(x, 1.08, 0.9)
        * ramp(np.abs(y + 0.03), 0.32, 0.2),
        "lids": 0.55 * furrow(y + 0.2 + 0.12 * np.cos((x - 0.47) * 5), 0.025)
        * ramp(np.abs(x - 0.47), 0.3, 0.18),
        "nose": 0.6 * waves((y + 0.4 * x) * 48) * ramp(x, 0.24, 0.14) * ramp(y, -0.3, -0.18)
        * ramp(y, 0.1, 0.0),
        "fold": 0.6 * furrow(x - fold, 0.035) * ramp(y, -0.5, -0.62) * ramp(y, -1.2, -1.0),
        "dimple": 0.8 * furrow(np.hypot(x - 0.5, (y + 1.1) * 0.6), 0.04),
        "chin": 0.35 * waves(x * 40 + 5 * np.sin(y * 22)) * waves(y * 34 + 4 * np.sin(x * 25))
        * ramp(x, 0.32, 0.18) * ramp(np.abs(y + 1.5), 0.22, 0.1)
        + 0.5 * furrow(y + 1.33 - 0.3 * x * x, 0.03) * ramp(x, 0.3, 0.18),
        "corner": 0.7 * furrow(x - 0.44 + 0.25 * (y + 1.2), 0.03) * ramp(y, -1.1, -1.18)
        * ramp(y, -1.42, -1.28),
        "lip": 0.5 * furrow(y + 0.9, 0.03) * ramp(x, 0.32, 0.2)
        + 0.5 * furrow(y + 1.33, 0.035) * ramp(x, 0.35, 0.2),
    }  # fmt: skip
    depth = np.stack([maps[name] * skin for name in PATTERNS], -1)
    return np.clip(-70 * depth, -127, 127).round().astype(np.int8)
