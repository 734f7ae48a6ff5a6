"""Haircuts: the hairline, the form of the hair and its paint."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tcae.data.synthetic.atlas import Field, noise, ramp
from tcae.data.synthetic.features import Box, features
from tcae.data.synthetic.hair import ISLAND, HairStyle
from tcae.data.synthetic.head import Head

Array = NDArray[np.float64]

STYLES = ("bald", "cropped", "short", "medium", "long")
# Ranges of the length, and of the thickness at the top and at the sides, in head units.
_FORM = {
    "short": ((0.0, 0.0), (0.08, 0.3), (0.04, 0.14)),
    "medium": ((0.2, 0.8), (0.12, 0.35), (0.1, 0.25)),
    "long": ((0.9, 1.5), (0.12, 0.3), (0.1, 0.25)),
}
_TURNS = np.linspace(0, np.pi, 64)  # azimuths


class Haircut:
    """The hair of one person.

    Args:
        random: Random numbers for its growth.
        style: One of `STYLES`, but not "bald".
    """

    def __init__(self, random: np.random.Generator, style: str) -> None:
        self._style = style
        self._line = _hairline(random)
        self._painted, self._shaped, self._sheet = random.spawn(3)

    def paint(self, size: int) -> tuple[Field, Field]:
        """Return the hair on the upper part of a texture plane of `size` texels.

        Returns:
            (h, size) coverage in [0, 1], and (h, size) brightness.
        """
        random, where = self._painted, features(size)
        shape = where["height"].shape[:2]
        edge = 0.05 * noise(random, shape, (40, 60))
        above = where["height"] - self._bottom(where["azimuth"]) + edge
        soft = 0.1 if self._style == "cropped" else 0.05
        cover = ramp(above, -soft, soft)
        cover *= 1 - where["ears"]
        if self._style == "cropped":
            cover *= np.float32(random.uniform(0.5, 0.85))
        tint = 1 + 0.2 * noise(random, shape, (shape[0] // 4, shape[1] // 2))
        return cover, np.asarray(tint * (0.75 + 0.25 * ramp(above, 0.0, 0.7)), np.float32)

    def sheet(self, size: int) -> tuple[Box, Field]:
        """Return its island on a texture plane of `size` texels, and the brightness there."""
        left, top, right, bottom = (round(edge * size) for edge in ISLAND)
        height, width = bottom - top, right - left
        random = self._sheet
        strands = noise(random, (height, width), (int(random.integers(3, 14)), width // 2))
        locks = noise(random, (height, width), (int(random.integers(2, 6)), width // 10))
        roots = ramp(np.linspace(0, 1, height), -0.2, 0.3)[:, None]
        tint = (0.8 + 0.2 * roots) * (1 + 0.16 * strands + 0.12 * locks)
        return np.s_[top:bottom, left:right], np.asarray(tint, np.float32)

    def grow(self, head: Head, shape: Field) -> Field:
        """Return the neutral face `shape` (V, 3) with this hair on it."""
        if self._style == "cropped":
            return shape
        random = self._shaped
        length, top, side = _FORM[self._style]
        form = HairStyle(
            azimuths=_TURNS.tolist(),
            heights=self._line.tolist(),
            top=random.uniform(*top),
            side=random.uniform(*side),
            fringe=random.choice([0.0, random.uniform(0.1, 0.45)]),
            length=random.uniform(*length),
            opening=random.uniform(1.1, 1.5),
            flare=random.uniform(-0.02, 0.15),
            rough=random.uniform(0.01, 0.06),
        )
        return head.with_hair(shape, form, random)

    def _bottom(self, around: Field) -> Field:
        """Return the height of the hairline at azimuths."""
        return np.interp(around, _TURNS, self._line).astype(np.float32)


def _hairline(random: np.random.Generator) -> Array:
    """Return the height above which hair grows, at `_TURNS`."""
    forehead = 0.95 + random.uniform(-0.2, 0.2)
    bays = random.uniform(0.0, 0.25)
    temple = random.uniform(0.25, 0.6)
    side = random.uniform(-0.6, 0.1)
    line = np.interp(
        _TURNS,
        [0, 0.35, 0.75, 1.05, 1.3, 1.55, 1.75, 2.2, 3.2],
        [forehead, forehead + bays, temple + 0.45, temple, side, side, -0.2, -1.2, -1.2],
    )
    return np.convolve(np.pad(line, 2, "reflect"), [0.1, 0.2, 0.4, 0.2, 0.1], "valid")
