"""The place of each point of the texture plane on the mean head, and smooth fields over it.

Places are in head units (see `tcae.data.synthetic.head`): the origin lies between the eyes, one
unit is the distance between them; x to the picture's right, y up, z towards the viewer.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tcae.data.synthetic.head import Head

Field = NDArray[np.float32]

FLESH = 0.7  # share of the plane's height, from the top, that holds skin, neck and mouth
AXIS = -0.9  # z of the vertical axis around which azimuths are measured


class Atlas:
    """The texture plane of the head, at one resolution.

    Attributes:
        size: Side of the plane in texels.
        place: (size, size, 3) float32, the place of each texel on the mean head. Texels of no
            triangle have the place of a nearby texel of one.
        part: (size, size) uint8, index into `PARTS`.
    """

    def __init__(self, head: Head, size: int) -> None:
        self.size = size
        self._corners, self._weights, self.part = _rasterised(head, size)
        self._triangles = head.triangles
        self.place = self.spread(head.vertices)

    @staticmethod
    @cache
    def of(size: int) -> Atlas:
        """Return the atlas of the head that ships with the package, computed once."""
        return Atlas(Head.load(), size)

    def spread(self, values: Field) -> Field:
        """Interpolate values at the vertices, (V,) or (V, C), to (size, size[, C])."""
        corners = values[self._triangles[self._corners]]
        return np.asarray(np.einsum("yxk,yxk...->yx...", self._weights, corners))


def _rasterised(head: Head, size: int) -> tuple[NDArray[np.int32], Field, NDArray[np.uint8]]:
    """Return the triangle at every texel, the weights of its corners, and its part."""
    points = head.uv[head.uv_triangles] * size - 0.5
    which = np.full((size, size), -1, np.int32)
    for number, corners in enumerate(points):
        cv2.fillConvexPoly(which, np.round(corners * 256).astype(np.int32), number, 8, 8)
    free = (which < 0).astype(np.uint8)
    _, label = cv2.distanceTransformWithLabels(free, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL)
    nearest = np.zeros(int(label.max()) + 1, np.int32)
    nearest[label[free == 0]] = which[free == 0]
    which = nearest[label]
    y, x = np.mgrid[:size, :size].astype(np.float32)
    a, b, c = np.moveaxis(points[which], 2, 0)
    ab, ac, ap = b - a, c - a, np.stack([x, y], -1) - a
    area = ab[..., 0] * ac[..., 1] - ab[..., 1] * ac[..., 0]
    area = np.where(np.abs(area) < 1e-9, 1e-9, area)
    v = (ap[..., 0] * ac[..., 1] - ap[..., 1] * ac[..., 0]) / area
    w = (ab[..., 0] * ap[..., 1] - ab[..., 1] * ap[..., 0]) / area
    weights = np.stack([1 - v - w, v, w], -1).clip(0, 1)
    weights /= weights.sum(-1, keepdims=True)
    return which, weights.astype(np.float32), head.parts[which]


def azimuth(place: Field) -> Field:
    """Return the angle around the head's vertical axis: 0 at the nose, pi at the back."""
    return np.asarray(np.abs(np.arctan2(place[..., 0], place[..., 2] - AXIS)))


def ramp(values: ArrayLike, low: float, high: float) -> Field:
    """Return a smooth step: 0 below `low`, 1 above `high` (`high` may be the lower one)."""
    t = np.clip((np.asarray(values, np.float32) - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def bump(place: Field, centre: tuple[float, float], width: tuple[float, float]) -> Field:
    """Return a Gaussian on both sides of the front of the face, around (+-x, y)."""
    x = (np.abs(place[..., 0]) - centre[0]) / width[0]
    y = (place[..., 1] - centre[1]) / width[1]
    front = ramp(place[..., 2], -0.8, -0.3)
    return np.asarray(np.exp(-0.5 * (x * x + y * y)) * front, np.float32)


def noise(random: np.random.Generator, shape: tuple[int, int], cells: tuple[int, int]) -> Field:
    """Return smooth noise (height, width) from a grid of `cells`, with unit variance there."""
    grid = random.standard_normal(cells, dtype=np.float32)
    return np.asarray(cv2.resize(grid, shape[::-1], interpolation=cv2.INTER_CUBIC))
