"""Hair as geometry: a shell over the scalp that ends at the hairline or hangs down from it.

The shell is a grid of `COLUMNS` around the head by `ROWS` from the crown downwards. The first
`GROWN` rows lie on the scalp, the rest hang. Its texture island is the rectangle `ISLAND`: across
it the azimuth, from the back over the person's right, the face and the left to the back; down it
the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

COLUMNS, GROWN, HANGING = 48, 13, 8
ROWS = GROWN + HANGING
ISLAND = (0.29, 0.73, 0.99, 0.99)  # left, top, right, bottom in the texture plane
CENTRE = np.array([0.0, 0.3, -0.9])  # from where the scalp's radii are measured
ELEVATIONS = np.deg2rad(np.linspace(90, -70, 41))  # of the rays whose radii are kept
NO_HAIR = np.array([0.0, 0.3, -0.9], np.float32)  # where the shell of the bald lies: inside


@dataclass(frozen=True)
class HairStyle:
    """The form of the hair. Lengths are in head units (63 mm).

    Attributes:
        azimuths: Angles, ascending from the front (0) to the back (pi), of the points in `heights`.
        heights: y of the hairline at `azimuths`.
        top: Thickness over the crown.
        side: Thickness above and behind the ears.
        fringe: Length of the hair over the forehead, below the hairline.
        length: Length of the hair at the sides and the back, below the hairline.
        opening: Azimuth from which on the hair has its full length. Before it the face is free.
        flare: How much the hanging hair widens, per unit of length.
        rough: Unevenness of the surface, standard deviation.
    """

    azimuths: Sequence[float]
    heights: Sequence[float]
    top: float = 0.2
    side: float = 0.12
    fringe: float = 0.0
    length: float = 0.0
    opening: float = 1.3
    flare: float = 0.05
    rough: float = 0.02


def shell_mesh() -> tuple[NDArray[np.int32], Array]:
    """Return the triangles (T, 3) of the shell, visible from both sides, and texture points.

    The shell has one column more than the circle needs, so that its texture does not wrap: vertices
    and texture points (ROWS * (COLUMNS + 1), 2) are numbered alike, row by row.
    """
    row, column = np.mgrid[: ROWS - 1, :COLUMNS]
    a = (row * (COLUMNS + 1) + column).ravel()
    b = a + COLUMNS + 1
    triangles = np.concatenate([np.stack([a, b, b + 1], 1), np.stack([a, b + 1, a + 1], 1)])
    left, top, right, bottom = ISLAND
    s, t = np.meshgrid(
        np.linspace(left, right, COLUMNS + 1), np.linspace(top, bottom, ROWS), indexing="xy"
    )
    return triangles.astype(np.int32), np.stack([s, t], -1).reshape(-1, 2).astype(np.float32)


class Scalp:
    """The scalp of any head of the model.

    Args:
        vertices: (V, 3) mean head.
        skin: Vertices (n,) of its skin, without the ears.
        radii: (2, COLUMNS + 1, len(ELEVATIONS)) distances of the mean head's surface from
            `CENTRE`, without and with the ears.
    """

    def __init__(self, vertices: Array, skin: NDArray[np.int64], radii: Array) -> None:
        self._mean, self._radii = vertices, radii.astype(np.float64)
        points = CENTRE + self._radii[0][..., None] * ray_directions()
        away = ((points.reshape(-1, 1, 3) - vertices[skin]) ** 2).sum(-1)
        nearest = np.argpartition(away, 4, axis=1)[:, :4]
        weights = 1 / (np.take_along_axis(away, nearest, 1) + 1e-3)
        self._near, self._weights = skin[nearest], weights / weights.sum(1, keepdims=True)

    def surfaces(self, shape: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the ends of the rays on a head, (COLUMNS + 1, E, 3), without and with the ears."""
        moves = (shape - self._mean).astype(np.float64)
        shift = (moves[self._near] * self._weights[..., None]).sum(1)
        rays = ray_directions()
        bare, full = (CENTRE + radii[..., None] * rays for radii in self._radii)
        shift = shift.reshape(rays.shape)
        return bare + shift, full + shift

    def grow(self, shape: Array, style: HairStyle, random: np.random.Generator) -> Array:
        """Return the vertices (ROWS * (COLUMNS + 1), 3) of the shell on a head.

        Args:
            shape: (V, 3) neutral face.
            style: Form of the hair.
            random: Random numbers for the unevenness.
        """
        bare, full = self.surfaces(shape)
        around = column_azimuths()
        line = np.interp(np.abs(around), style.azimuths, style.heights)
        scalp = _down_to(bare, line)
        outward = scalp - CENTRE
        outward /= np.linalg.norm(outward, axis=2, keepdims=True)
        share = np.linspace(0, 1, GROWN)
        top = np.clip(scalp[..., 1] - 0.6, 0, 1)
        thick = style.side + (style.top - style.side) * top * top * (3 - 2 * top)
        uneven = 1 + style.rough / max(style.top, style.side, 1e-6) * _noise(random)
        ragged = 1 + 2 * style.rough * _noise(random)[:, 0]
        hangs = self._hangs(style, around) * np.clip(ragged, 0.7, 1.3)
        # Cut hair gets thin at the hairline, hanging hair does not.
        edge = np.sqrt(1 - share[None] ** 4)
        edge = edge + (1 - edge) * np.clip(hangs[:, None] / 0.3, 0, 0.8)
        scalp = scalp + outward * (thick * uneven[:, :GROWN] * edge + 0.012)[..., None]
        hanging = _fall(scalp[:, -1], full, around, hangs, style, uneven[:, GROWN:])
        rows = np.concatenate([scalp, hanging], 1).transpose(1, 0, 2)
        return rows.reshape(-1, 3).astype(np.float32)

    def _hangs(self, style: HairStyle, around: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the length of the hanging hair at each column."""
        from_front = np.abs(around)
        sides = np.clip((from_front - style.opening) / 0.35 + 1, 0, 1)
        front = np.clip((0.95 - from_front) / 0.3, 0, 1)
        return np.maximum(style.length * sides**2, style.fringe * front)


def ray_directions() -> NDArray[np.float64]:
    """Return the unit vectors (COLUMNS + 1, len(ELEVATIONS), 3) of the rays from `CENTRE`."""
    around, up = np.meshgrid(column_azimuths(), ELEVATIONS, indexing="ij")
    flat = np.cos(up)
    return np.stack([np.sin(around) * flat, np.sin(up), np.cos(around) * flat], -1)


def column_azimuths() -> NDArray[np.float64]:
    """Return the angles (COLUMNS + 1,) from the front, -pi to pi, positive to the person's left."""
    return np.linspace(-np.pi, np.pi, COLUMNS + 1)


def _down_to(surface: NDArray[np.float64], line: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return points on the surface in equal steps from the crown down to the hairline."""
    places = np.arange(len(ELEVATIONS), dtype=np.float64)
    rows = np.empty((len(surface), GROWN, 3))
    for column, points in enumerate(surface):
        end = np.interp(-line[column], -np.minimum.accumulate(points[:, 1]), places)
        at = np.linspace(0, end, GROWN)
        rows[column] = np.stack([np.interp(at, places, points[:, k]) for k in range(3)], 1)
    return rows


def _fall(
    rim: NDArray[np.float64],
    surface: NDArray[np.float64],
    around: NDArray[np.float64],
    hangs: NDArray[np.float64],
    style: HairStyle,
    uneven: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return rows that hang from the rim, never nearer to the axis than the head is there."""
    share = np.linspace(1 / HANGING, 1, HANGING)
    down = share * hangs[:, None]
    y = rim[:, None, 1] - down
    across = rim[:, [0, 2]] - CENTRE[[0, 2]]
    radius = np.linalg.norm(across, axis=1)[:, None] + style.flare * down
    for column, points in enumerate(surface):
        reach = np.linalg.norm(points[:, [0, 2]] - CENTRE[[0, 2]], axis=1)
        head = np.interp(-y[column], -np.minimum.accumulate(points[:, 1]), reach)
        radius[column] = np.maximum(radius[column], head + 0.08 * (hangs[column] > 0))
    radius = radius + 0.3 * style.side * (uneven - 1) * (hangs[:, None] > 0)
    still = hangs == 0
    radius[still] = np.linalg.norm(across[still], axis=1)[:, None]
    x = CENTRE[0] + radius * np.sin(around)[:, None]
    z = CENTRE[2] + radius * np.cos(around)[:, None]
    return np.stack([x, y, z], -1)


def _noise(random: np.random.Generator) -> NDArray[np.float64]:
    """Return smooth noise (COLUMNS + 1, ROWS) of unit variance, the same at both ends."""
    noise = random.standard_normal((COLUMNS, ROWS))
    noise = (noise + np.roll(noise, 1, 0)) / np.sqrt(2)
    return np.concatenate([noise, noise[:1]])
