"""Upper lids: the dark line of the lashes, which a blink carries down, and the fold above it."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from tcae.data.synthetic.atlas import FLESH, Atlas, Field, ramp
from tcae.data.synthetic.features import Box
from tcae.data.synthetic.head import PARTS

Array = NDArray[np.float64]

_EDGE = np.array(  # x and y of the upper lid's edge on the mean head
    [[0.24, 0.3, 0.36, 0.42, 0.48, 0.54, 0.6, 0.66, 0.72],
     [-0.05, -0.02, 0.02, 0.038, 0.045, 0.04, 0.025, 0.0, -0.02]]
)  # fmt: skip


def paint_lids(
    flesh: Field, random: np.random.Generator, size: int, hair: Array, most: float
) -> None:
    """Paint lashes and folds, in place.

    Args:
        flesh: (h, size, 3) the upper part of the texture.
        random: The person's random numbers.
        size: Side of the texture in texels.
        hair: (3,) colour of the hair.
        most: Strength, from 0 (none) to 1.
    """
    where, lashes, fold = _fields(size)
    thick, deep = random.uniform([0.5, 0.0], [1.0, 0.25]) * most
    patch = flesh[where]
    patch *= 1 - np.float32(deep) * fold[..., None]
    colour = (np.minimum(hair, 90) * 0.35).astype(np.float32)
    patch += np.float32(thick) * lashes[..., None] * (colour - patch)


@cache
def _fields(size: int) -> tuple[Box, Field, Field]:
    """Return the rectangle around both eyes, and lashes and folds in it, each from 0 to 1."""
    h = round(FLESH * size)
    place, part = Atlas.of(size).place[:h], Atlas.of(size).part[:h]
    near = (np.abs(place[..., 0]) < 0.9) & (np.abs(place[..., 1]) < 0.3) & (place[..., 2] > -0.2)
    near &= part == PARTS.index("skin")
    rows, columns = np.flatnonzero(near.any(1)), np.flatnonzero(near.any(0))
    where = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    x, y, z = np.abs(place[where][..., 0]), place[where][..., 1], place[where][..., 2]
    above = y - np.interp(x, *_EDGE)
    along = ramp(x, 0.22, 0.3) * ramp(x, 0.76, 0.7) * near[where] * ramp(z, 0.08, 0.12)
    broad = 0.014 + 0.012 * ramp(x, 0.3, 0.6)  # longer towards the temples
    lashes = ramp(above, -0.03, -0.012) * ramp(above / broad, 2.0, 0.8) * along
    fold = np.exp(-0.5 * ((above - 0.08) / 0.012) ** 2) * along
    return where, lashes.astype(np.float32), fold.astype(np.float32)
