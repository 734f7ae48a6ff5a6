"""Which part of the base mesh becomes the head, and how its texture plane is laid out."""

from __future__ import annotations

import numpy as np
from makehuman import Array, Indices, Quads, Source
from numpy.typing import NDArray

from tcae.data.synthetic.head import PARTS

LEFT_EYE, RIGHT_EYE = slice(14598, 14670), slice(14670, 14742)  # vertices of the eyeballs
LASH_LENGTH = 0.45  # of MakeHuman's
SHOULDER_HEIGHT, SHOULDER_WIDTH = 5.6, 1.6  # the body is cut off below and beyond


class Cut:
    """Which part of the base mesh the head is, with its own eyeballs and one texture plane."""

    def __init__(self, source: Source) -> None:
        self._source = source
        corners = _kept_quads(source)
        self._ids = np.unique(np.concatenate([quads[..., 0].ravel() for quads in corners.values()]))
        new_id = np.full(len(source.vertices), -1)
        new_id[self._ids] = np.arange(len(self._ids))
        self.parts, faces, uvs, self.points = [], [], [], np.zeros((0, 2))
        for part, quads in corners.items():
            used, local = np.unique(quads[..., 1], return_inverse=True)
            uv = _place(part, source.points[used])
            faces.append(_split(new_id[quads[..., 0]]))
            uvs.append(_split(local.reshape(quads.shape[:2])) + len(self.points))
            self.points = np.concatenate([self.points, uv])
            self.parts += [PARTS.index(part.rstrip("12"))] * len(faces[-1])
        self._roots = self._lash_roots(corners)
        self._sphere, ball = _eyeball()
        for side in range(2):
            faces.append(ball + len(self._ids) + side * len(self._sphere))
            uvs.append(ball + len(self.points))
            self.parts += [PARTS.index("eye")] * len(ball)
        self.points = np.concatenate([self.points, _place_eye(self._sphere)])
        self.triangles, self.uv_triangles = np.concatenate(faces), np.concatenate(uvs)
        self._eyes = [source.vertices[ids] for ids in (LEFT_EYE, RIGHT_EYE)]
        self.pole = [len(self._ids) + side * len(self._sphere) for side in range(2)]
        eyeballs = [centre + radius * self._sphere for centre, radius in map(_ball, self._eyes)]
        full = np.concatenate([self._kept(source.vertices), *eyeballs])
        self.origin = full[self.pole] - [[0, 0, _ball(eye)[1]] for eye in self._eyes]
        self.origin = self.origin.mean(0)
        self.unit = float(np.linalg.norm(_ball(self._eyes[0])[0] - _ball(self._eyes[1])[0]))
        self.vertices = (full - self.origin) / self.unit
        self._draw_in()
        other = new_id[source.mirror[self._ids]]
        flipped = self._mirror_of_sphere()
        n, m = len(self._ids), len(self._sphere)
        self.mirror = np.concatenate([other, n + m + flipped, n + flipped])
        assert (other >= 0).all()

    def moves(self, target: Array) -> Array:
        """Turn a displacement of the whole base mesh into one of the head, (V, 3) in head units.

        An eyeball stays a ball: it takes its vertices' mean displacement and mean growth.
        """
        balls = []
        for ids, eye in zip((LEFT_EYE, RIGHT_EYE), self._eyes, strict=True):
            centre, _ = _ball(eye)
            away = (eye - centre) / np.linalg.norm(eye - centre, axis=1, keepdims=True)
            growth = (target[ids] * away).sum(1).mean()
            balls.append(target[ids].mean(0) + growth * self._sphere)
        return np.concatenate([self._kept(target), *balls]) / self.unit

    def sample(self, picture: NDArray[np.uint8]) -> Array:
        """Sample a mask of the base mesh's texture plane at the vertices: (V,) in [0, 1]."""
        points = np.zeros((len(self._source.vertices), 2))
        for quads in self._source.quads.values():
            points[quads[..., 0].ravel()] = self._source.points[quads[..., 1].ravel()]
        scale = picture.shape[0] - 1
        u, v = np.round(points[self._ids] * scale).astype(int).T
        values = picture[scale - v, u] / 255
        return np.concatenate([values, np.zeros(2 * len(self._sphere))])

    def _draw_in(self) -> None:
        """Move teeth and the mouth's walls away from lips and cheeks that get thin."""
        parts = np.array(self.parts)
        inside = [PARTS.index("mouth"), PARTS.index("teeth")]
        lips = self.sample(self._source.mask("lips")) > 0.02
        for part in inside:
            ids = np.unique(self.triangles[parts == part])
            ids = ids[~lips[ids] | (part == inside[1])]
            centre = np.array([0, self.vertices[ids, 1].mean(), -0.4])
            self.vertices[ids] = centre + (self.vertices[ids] - centre) * [0.85, 0.9, 0.9]

    def _lash_roots(self, corners: Quads) -> tuple[Indices, Indices]:
        """Return the lashes' vertices, and for each the nearest one of the skin around the eyes."""
        lashes = np.unique(corners["lashes"][..., 0])
        sockets = [corners[name][..., 0].ravel() for name in ("socket1", "socket2")]
        lids = np.unique(np.concatenate(sockets))
        vertices = self._source.vertices
        away = np.linalg.norm(vertices[lashes][:, None] - vertices[lids], axis=2)
        return lashes, lids[away.argmin(1)]

    def _kept(self, values: Array) -> Array:
        """Return places or displacements of the kept vertices. Lashes are shortened: too bold."""
        values = values.copy()
        lashes, roots = self._roots
        values[lashes] = values[roots] + LASH_LENGTH * (values[lashes] - values[roots])
        return values[self._ids]

    def _mirror_of_sphere(self) -> Indices:
        mirrored = self._sphere * [-1, 1, 1]
        distance = np.linalg.norm(mirrored[:, None] - self._sphere, axis=2)
        return np.asarray(distance.argmin(1))


def _kept_quads(source: Source) -> Quads:
    """Return the quads of each part, without what is hidden behind the eyeballs."""
    body = source.quads["body"]
    where = source.vertices[body[..., 0]]
    kept = (where[..., 1].min(1) >= SHOULDER_HEIGHT) & (
        np.abs(where[..., 0]).max(1) <= SHOULDER_WIDTH
    )
    eye_depth = source.vertices[LEFT_EYE, 2].mean()
    u, v = source.points[body[..., 1]].mean(1).T
    socket = (u < 0.2) & (v < 0.7)
    kept &= ~(socket & (where[..., 2].max(1) < eye_depth))
    parts = {
        "skin": body[kept & (u > 0.6) & (v > 0.14)],
        "neck": body[kept & (u < 0.6) & (v > 0.7)],
        "mouth": body[kept & (u > 0.6) & (v < 0.14)],
        "socket1": body[kept & socket & (u < 0.08)],
        "socket2": body[kept & socket & (u > 0.08)],
        "tongue": source.quads["helper-tongue"],
    }
    assert sum(map(len, parts.values())) == kept.sum() + len(parts["tongue"])
    groups = source.quads
    parts["teeth"] = np.concatenate([groups["helper-upper-teeth"], groups["helper-lower-teeth"]])
    lashes = [groups[f"helper-{side}-eyelashes-2"] for side in "lr"]  # of the upper lids
    parts["lashes"] = np.concatenate(lashes)
    return parts


# Part -> corner in the base mesh's texture plane (u, v), corner in ours (s, t), scale.
_ISLANDS = {
    "neck": ((0.236, 0.975), (0.0, 0.54), 1.04),
    "mouth": ((0.757, 0.137), (0.32, 0.54), 1.2),
    "socket1": ((0.011, 0.634), (0.54, 0.54), 0.8),
    "socket2": ((0.085, 0.634), (0.60, 0.54), 0.8),
    "teeth": ((0.678, 0.920), (0.68, 0.54), 3.0),
    "tongue": ((0.622, 0.985), (0.88, 0.54), 2.0),
    "lashes": ((0.709, 0.9855), (0.94, 0.54), 0.8),
}


def _place(part: str, points: Array) -> Array:
    """Map texture points of the base mesh (u, v upwards) to ours (s right, t down, in [0, 1])."""
    u, v = points.T
    if part == "skin":  # lies on its side there
        return np.stack([0.003 + (v - 0.148) * 1.48, 0.003 + (u - 0.640) * 1.48], 1)
    (left, top), corner, scale = _ISLANDS[part]
    return np.stack([u - left, top - v], 1) * scale + corner


def _eyeball() -> tuple[Array, Indices]:
    """Return a unit ball that looks along z, with denser rings at the iris, and its triangles."""
    rings = np.deg2rad([0, 8, 16, 24, 30, 38, 50, 64, 80, 96])
    around = np.arange(20) * 2 * np.pi / 20
    vertices = [[0.0, 0.0, 1.0]]
    for ring in rings[1:]:
        vertices += [
            [np.sin(ring) * np.cos(a), np.sin(ring) * np.sin(a), np.cos(ring)] for a in around
        ]
    n = len(around)
    faces = [[0, 1 + i, 1 + (i + 1) % n] for i in range(n)]
    for ring in range(len(rings) - 2):
        a = 1 + ring * n
        for i in range(n):
            j = (i + 1) % n
            faces += [[a + i, a + n + i, a + n + j], [a + i, a + n + j, a + j]]
    return np.array(vertices), np.array(faces)


def _place_eye(sphere: Array) -> Array:
    """Return texture points of the eyeball: equal angles from the pupil are equal distances."""
    angle = np.arccos(np.clip(sphere[:, 2], -1, 1)) / np.deg2rad(96)
    direction = sphere[:, :2] / np.maximum(np.linalg.norm(sphere[:, :2], axis=1), 1e-9)[:, None]
    return np.array([0.13, 0.85]) + 0.12 * angle[:, None] * direction * [1, -1]


def _ball(eye: Array) -> tuple[Array, float]:
    centre = eye.mean(0)
    return centre, float(np.linalg.norm(eye - centre, axis=1).mean())


def _split(quads: Indices) -> Indices:
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
