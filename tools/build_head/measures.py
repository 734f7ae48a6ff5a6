"""Measurements of the head: named vertices, openness to light, the scalp."""

from __future__ import annotations

import numpy as np
from cut import Cut
from makehuman import Array, Indices, Source
from numpy.typing import NDArray

from tcae.data.synthetic.hair import CENTRE, ray_directions
from tcae.data.synthetic.head import PARTS, UNITS
from tcae.data.synthetic.raster import trace, vertex_normals


def vertex_masks(source: Source, cut: Cut) -> dict[str, Array]:
    """Return vertex masks (V,) in [0, 1]."""
    parts = {name: np.zeros(len(cut.vertices)) for name in PARTS}
    for name in PARTS:
        parts[name][np.unique(cut.triangles[np.array(cut.parts) == PARTS.index(name)])] = 1
    pictures = ("lips", "eyelids", "ears", "face", "inside-mouth")
    masks = {name: cut.sample(source.mask(name)) for name in pictures}
    y = cut.vertices[:, 1]
    masks["face"] *= parts["skin"]
    masks["trunk"] = smooth_step((-1.75 - y) / 1.0)
    return masks


def openness(vertices: Array, cut: Cut, directions: int = 200, size: int = 900) -> Array:
    """Return for each vertex (V,) the share of ambient light that the head does not block."""
    triangles = cut.triangles.astype(np.int32)
    normals = vertex_normals(vertices.astype(np.float32), triangles).astype(np.float64)
    both = np.ones(len(triangles), np.bool_)
    step = np.arange(directions) + 0.5
    height, turn = 1 - 2 * step / directions, np.pi * (1 + 5**0.5) * step
    ring = np.sqrt(1 - height**2)
    reached, possible = np.full(len(vertices), 1e-6), np.full(len(vertices), 1e-6)
    zoom = size / np.ptp(vertices, 0).max() / 1.5
    for d in np.stack([ring * np.cos(turn), height, ring * np.sin(turn)], 1):
        right = np.cross([0.0, 1.0, 0.0], d) / np.linalg.norm(np.cross([0.0, 1.0, 0.0], d))
        axes = np.stack([right, -np.cross(d, right)])
        pixels = (vertices @ axes.T * zoom + size / 2).astype(np.float32)
        depth = (20 - vertices @ d).astype(np.float32)
        _, inverse = trace(pixels, depth, triangles, both, size, size, 1)
        outside = vertices + 0.02 * normals
        x, y = np.clip(np.round(outside @ axes.T * zoom + size / 2), 0, size - 1).astype(int).T
        clear = 1 / (20 - outside @ d) >= inverse[y, x]
        facing = np.maximum(normals @ d, 0)
        possible += facing
        reached += facing * clear
    openness = reached / possible
    teeth = cut.triangles[np.array(cut.parts) == PARTS.index("teeth")]
    openness[teeth] = openness[teeth] ** 0.3  # enamel shines out of the dark
    return np.asarray((openness + openness[cut.mirror]) / 2)


def radii(vertices: Array, cut: Cut, masks: dict[str, Array]) -> Array:
    """Return the skin's radii (2, columns, elevations) about the scalp, without and with ears."""
    parts = np.isin(cut.parts, [PARTS.index("skin"), PARTS.index("neck")])
    bare = parts & (masks["ears"][cut.triangles].max(1) < 0.1)
    found = [_cast(vertices[cut.triangles[kept]]) for kept in (bare, parts)]
    found[0] = np.minimum(found[0], found[1])
    # Hair that falls over an ear clears all of it, also what lies between two rays.
    around = found[1][:-1]
    found[1][:-1] = np.max([np.roll(around, step, 0) for step in (-2, -1, 0, 1, 2)], axis=0)
    found[1][-1] = found[1][0]
    return np.stack(found)


def _cast(corners: Array) -> Array:
    """Return every ray's farthest hit on triangles (T, 3, 3), interpolated if there is none."""
    rays = ray_directions()
    a, ab, ac = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    radii = np.zeros(rays.shape[:2])
    for column, directions in enumerate(rays):
        for row, d in enumerate(directions):
            p = np.cross(d, ac)
            det = (ab * p).sum(1)
            det = np.where(np.abs(det) < 1e-12, 1e-12, det)
            away = CENTRE - a
            u = (away * p).sum(1) / det
            q = np.cross(away, ab)
            v, t = (q * d).sum(1) / det, (q * ac).sum(1) / det
            hit = (u >= -1e-6) & (v >= -1e-6) & (u + v <= 1 + 1e-6) & (t > 0)
            radii[column, row] = t[hit].max() if hit.any() else np.nan
        gap = np.isnan(radii[column])
        rows = np.arange(len(gap))
        radii[column, gap] = np.interp(rows[gap], rows[~gap], radii[column, ~gap])
    return radii


def landmarks(cut: Cut, masks: dict[str, Array], lip_pairs: Indices) -> dict[str, int]:
    """Return the named vertices."""
    x, y, z = cut.vertices.T
    lips, lids = masks["lips"] > 0.5, masks["eyelids"] > 0.3

    def best(score: Array, among: NDArray[np.bool_]) -> int:
        return int(np.where(among, score, -np.inf).argmax())

    front = (np.array(masks["face"]) > 0.5) & (z > -0.5)
    found = {
        "nose_tip": best(z, front & (np.abs(x) < 0.02)),
        "chin": best(0.7 * z - y, front & (np.abs(x) < 0.02)),
        "upper_lip": int(lip_pairs[len(lip_pairs) // 2, 0]),
        "lower_lip": int(lip_pairs[len(lip_pairs) // 2, 1]),
    }
    lid = lids & (x > 0)
    middle = lid & (np.abs(x - 0.5) < 0.08)
    left = {
        "pupil": cut.pole[0],
        "mouth": best(x + 0.5 * z, lips),
        "outer_eye": best(x, lid),
        "inner_eye": best(-x, lid),
        "upper_lid": best(y, middle),
        "lower_lid": best(-y, middle),
    }
    for i, (bx, by) in enumerate(((0.2, 0.27), (0.4, 0.34), (0.6, 0.37), (0.8, 0.28))):
        left[f"brow_{i}"] = best(-np.hypot(x - bx, y - by), front)
    found |= {f"left_{name}": vertex for name, vertex in left.items()}
    return found | {f"right_{name}": int(cut.mirror[vertex]) for name, vertex in left.items()}


def lid_pairs(cut: Cut, units: Array, masks: dict[str, Array]) -> Indices:
    """Return (2 eyes, 5, 2): points of the upper lid's rim, and those of the lower to meet."""
    blink = np.abs(units[UNITS.index(45)].sum(0)[:, 1])
    pairs = []
    for pole in cut.pole:
        across, up, ahead = (cut.vertices - cut.vertices[pole]).T
        rim = (masks["eyelids"] > 0.93) & (np.abs(across) < 0.25) & (np.abs(up) < 0.25)
        upper, lower = rim & (blink > 0.09), rim & (blink < 0.03) & (up < -0.03)
        for x in np.linspace(-0.1, 0.1, 5):
            near = np.abs(across - x) < 0.03
            pairs.append([np.where(near & side, ahead, -9).argmax() for side in (upper, lower)])
    return np.array(pairs).reshape(2, 5, 2)


def lip_pairs(cut: Cut, units: Array, masks: dict[str, Array]) -> Indices:
    """Return (7, 2): points of the upper lip, and those of the lower they touch when closed."""
    parting = units[UNITS.index(25)].sum(0)[:, 1]
    x, y, _ = cut.vertices.T
    upper, lower = ((masks["lips"] > 0.9) & (sign * parting > 0.01) for sign in (1, -1))
    pairs = []
    for middle in np.linspace(-0.24, 0.24, 7):
        near = np.abs(x - middle) < 0.03
        pairs.append(
            [np.where(near & upper, -y, -9).argmax(), np.where(near & lower, y, -9).argmax()]
        )
    return np.array(pairs)


def smooth_step(t: Array) -> Array:
    """Return 0 below 0, 1 above 1, and a smooth step between."""
    t = np.clip(t, 0, 1)
    return np.asarray(t * t * (3 - 2 * t))
