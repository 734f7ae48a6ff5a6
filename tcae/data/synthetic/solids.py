"""Simple solids with paint, from which things before and on the face are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tcae.data.synthetic.scene import View

Array = NDArray[np.float32]
Ids = NDArray[np.int32]

_HIDES = 0.3  # what lets less pass hides what is behind it
_CAP = np.deg2rad([30.0, 60.0, 89.0])  # rings of a rounded end


@dataclass(frozen=True)
class Solid:
    """A painted mesh in the coordinates of the head. Only its front faces are seen.

    Attributes:
        vertices: (n, 3) float32.
        triangles: (t, 3) int32 vertices, counter-clockwise from outside.
        paint: (n, 3) float32 red, green and blue, linear, from 0 to 1.
        clear: (n, 3) float32 share of the light from behind that passes.
        gloss: (n,) float32 from 0 (matt) to 1.
        stays: (n,) float32, 0 where a vertex turns with the head, 1 where it stays with the body.
        near: (n,) float32 factor of the depth at which a vertex counts. Below 1 it is not hidden by
            skin that moves a little through it.
    """

    vertices: Array
    triangles: Ids
    paint: Array
    clear: Array
    gloss: Array
    stays: Array
    near: Array

    @cached_property
    def casting(self) -> Ids:
        """The triangles that hide what is behind them and cast shadows."""
        return self.triangles[self.clear[self.triangles].mean((1, 2)) < _HIDES]

    def moved(self, shift: ArrayLike, turn: ArrayLike | None = None) -> Solid:
        """Return the solid turned by a matrix (3, 3), then shifted by (3,)."""
        turned = self.vertices
        if turn is not None:
            turned = np.einsum("vj,ij->vi", turned, np.asarray(turn, np.float32))
        return replace(self, vertices=(turned + np.asarray(shift)).astype(np.float32))

    def mirrored(self) -> Solid:
        """Return the solid on the other side of the face."""
        flip = np.array([-1, 1, 1], np.float32)
        return replace(self, vertices=self.vertices * flip, triangles=self.triangles[:, ::-1])


@dataclass(frozen=True)
class SolidView:
    """A solid and its view in a picture."""

    solid: Solid
    view: View


def solid(
    vertices: ArrayLike,
    triangles: ArrayLike,
    colour: ArrayLike,
    gloss: float = 0.0,
    clear: ArrayLike = 0.0,
    near: ArrayLike = 1.0,
    stays: float = 0.0,
) -> Solid:
    """Return a solid of one piece.

    Args:
        vertices: (n, 3).
        triangles: (t, 3).
        colour: (3,) or (n, 3), 0 to 255 as displayed.
        gloss: See `Solid`.
        clear: See `Solid`; a number, (3,) or (n, 3).
        near: See `Solid`; a number or (n,).
        stays: See `Solid`.
    """
    points = np.asarray(vertices, np.float32)
    count = len(points)
    paint = np.square(np.clip(np.asarray(colour, np.float64), 0, 255) / 255)
    return Solid(
        points,
        np.asarray(triangles, np.int32),
        np.broadcast_to(paint, (count, 3)).astype(np.float32),
        np.broadcast_to(np.asarray(clear, np.float32), (count, 3)).copy(),
        np.full(count, gloss, np.float32),
        np.full(count, stays, np.float32),
        np.broadcast_to(np.asarray(near, np.float32), (count,)).copy(),
    )


def joined(parts: Sequence[Solid]) -> Solid:
    """Return one solid of several."""
    starts = np.cumsum([0, *(len(part.vertices) for part in parts[:-1])])
    triangles = [part.triangles + np.int32(at) for part, at in zip(parts, starts, strict=True)]
    fields = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("vertices", "paint", "clear", "gloss", "stays", "near")
    }
    return Solid(triangles=np.concatenate(triangles), **fields)


def grid(rows: int, columns: int, closed: bool) -> Ids:
    """Return the triangles of a grid of vertices, numbered row by row.

    They face the viewer where rows run down and columns to the right. `closed` joins the last
    column to the first.
    """
    row, column = np.mgrid[: rows - 1, : columns if closed else columns - 1]
    a, right = (row * columns + column).ravel(), (column + 1) % columns
    b = (row * columns + right).ravel()
    c, d = a + columns, b + columns
    return np.concatenate([np.stack([a, c, d], 1), np.stack([a, d, b], 1)]).astype(np.int32)


def tube(
    path: ArrayLike, radii: ArrayLike, sides: int = 8, guide: ArrayLike = (0.0, 0.0, 1.0)
) -> tuple[Array, Ids]:
    """Return vertices and triangles of a tube with round ends.

    Args:
        path: (n, 3) points of its axis.
        radii: (n,) or (n, 2) radii: across, and along the guide.
        sides: Corners of its section.
        guide: (3,) direction that the axis never has.
    """
    axis, size = np.asarray(path, np.float64), np.asarray(radii, np.float64)
    if size.ndim == 1:
        size = np.repeat(size[:, None], 2, 1)
    along = np.gradient(axis, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    ends = [(0, -1.0), (-1, 1.0)]
    caps = [
        (
            axis[i] + way * np.sin(_CAP)[:, None] * size[i].mean() * along[i],
            np.cos(_CAP)[:, None] * size[i],
            np.repeat(along[i : i + 1] if i == 0 else along[-1:], len(_CAP), 0),
        )
        for i, way in ends
    ]
    axis, size, along = (
        np.concatenate([first[::-1], middle, last])
        for first, middle, last in zip(caps[0], (axis, size, along), caps[1], strict=True)
    )
    across = np.cross(np.asarray(guide, np.float64), along)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    front = np.cross(along, across)
    turn = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    rings = axis[:, None] + size[:, None, :1] * np.cos(turn)[:, None] * across[:, None]
    rings = rings + size[:, None, 1:] * np.sin(turn)[:, None] * front[:, None]
    return rings.reshape(-1, 3).astype(np.float32), grid(len(axis), sides, closed=True)[:, ::-1]


def ball(centre: ArrayLike, radii: ArrayLike, sides: int = 12) -> tuple[Array, Ids]:
    """Return vertices and triangles of an ellipsoid with `radii` (3,)."""
    up, turn = np.linspace(0.5, -0.5, sides // 2 + 1) * np.pi, np.linspace(0, 2, sides + 1)[:-1]
    up, turn = np.meshgrid(up, turn * np.pi, indexing="ij")
    around = np.stack([np.sin(turn) * np.cos(up), np.sin(up), np.cos(turn) * np.cos(up)], -1)
    points = np.asarray(centre) + np.asarray(radii) * around.reshape(-1, 3)
    return points.astype(np.float32), grid(*up.shape, closed=True)
