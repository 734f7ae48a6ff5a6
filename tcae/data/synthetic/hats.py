"""Caps, woollen hats and headscarves, fitted over head and hair."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tcae.data.synthetic.hair import CENTRE
from tcae.data.synthetic.head import Head
from tcae.data.synthetic.solids import Solid, grid, joined, solid

Array = NDArray[np.float64]

_COLUMNS, _ROWS = 32, 9
_TURNS = np.linspace(0, 2 * np.pi, _COLUMNS, endpoint=False)  # azimuths, 0 at the nose
_RISES = np.deg2rad(np.linspace(90, -75, 34))


def hat(random: np.random.Generator, head: Head, face: NDArray[np.float32], man: bool) -> Solid:
    """Return a cap with a peak, a woollen hat or, of women, a headscarf.

    Args:
        random: Random numbers for form and colours.
        head: The mesh.
        face: (V, 3) neutral vertices with hair.
        man: Whether it is a man.
    """
    if not man and random.random() < 0.4:
        return _scarf(random, head, face)
    peaked = random.random() < 0.6
    front = random.uniform(0.62, 0.85) if peaked else random.uniform(0.55, 0.85)
    back = random.uniform(-0.1, 0.3) if peaked else random.uniform(-0.7, -0.3)
    line = (front + back) / 2 + (front - back) / 2 * np.cos(_TURNS)
    line += (0.0 if peaked else 0.05) * np.cos(2 * _TURNS)
    loose = random.uniform(0.03, 0.08)
    dome = _down_to(_hull(head, face, -0.9) + loose, line)
    colour = _dye(random)
    shade = np.ones((_ROWS, _COLUMNS))
    if not peaked:
        dome[-4:] += 0.07 * _outward(dome[-4:])  # the turned-up brim
        shade[-5] = 0.6
        shade *= 1 + 0.12 * np.cos(np.arange(_COLUMNS) * np.pi)  # ribs
    elif random.random() < 0.3:
        colour, trim = np.clip(colour * random.uniform(0.4, 1.6, 3), 8, 240), colour
        return joined([_cloth(dome, colour, shade), _peak(random, dome[-1], trim)])
    made = _cloth(dome, colour, shade)
    return joined([made, _peak(random, dome[-1], colour)]) if peaked else made


def _dye(random: np.random.Generator) -> Array:
    return np.clip(random.uniform(15, 200) + random.normal(0, 40, 3), 8, 240)


def _scarf(random: np.random.Generator, head: Head, face: NDArray[np.float32]) -> Solid:
    """Return a headscarf that leaves the face free: rings from the face's edge to the back."""
    tall, wide = random.uniform(0.72, 0.9), random.uniform(0.9, 1.05)
    edge = np.stack([wide * np.sin(_TURNS), 1.32 * np.cos(_TURNS) + tall - 1.32], 1)
    skin = face[head.masks["face"] + head.masks["ears"] > 0.5]
    beside = ((skin[None, :, :2] - edge[:, None]) ** 2).sum(2)
    depth = skin[np.argpartition(beside, 6, axis=1)[:, :6], 2].mean(1)
    start = np.c_[edge, depth + 0.04] - CENTRE
    hull = _hull(head, face, -2.6) + random.uniform(0.05, 0.12)
    rows = [start + CENTRE]
    for share in np.linspace(0, 1, _ROWS)[1:]:
        way = start / np.linalg.norm(start, axis=1, keepdims=True)
        way = (1 - share) * way + share * np.array([0, 0.1, -1])
        way /= np.linalg.norm(way, axis=1, keepdims=True)
        row = np.interp(-np.arcsin(way[:, 1]), -_RISES, np.arange(len(_RISES))).round()
        column = np.round(np.arctan2(way[:, 0], way[:, 2]) / _TURNS[1])
        rows.append(way * hull[row.astype(int), column.astype(int) % _COLUMNS, None] + CENTRE)
    cloth = np.stack(rows)[:, ::-1]  # the columns to the right where the rows run down
    folds = 1 + 0.15 * np.sin(random.uniform(0, 6) + np.arange(_ROWS) * 2.2)[:, None]
    made = _cloth(cloth, _dye(random), folds * np.ones(_COLUMNS))
    low = np.clip((-1.9 - made.vertices[:, 1]) / 0.9, 0, 1)
    return replace(made, stays=low.astype(np.float32))


def _hull(head: Head, face: NDArray[np.float32], lowest: float) -> Array:
    """Return how far head and hair reach from `CENTRE`: (len(_RISES), _COLUMNS)."""
    away = face[(face[:, 1] > lowest) & (head.masks["ears"] < 0.1)] - CENTRE
    radius = np.linalg.norm(away, axis=1)
    turn, rise = np.arctan2(away[:, 0], away[:, 2]), np.arcsin(away[:, 1] / (radius + 1e-6))
    column = np.round(turn / _TURNS[1]).astype(int) % _COLUMNS
    row = np.round((_RISES[0] - rise) / (_RISES[0] - _RISES[1])).astype(int)
    seen = row < len(_RISES)
    far = np.full((len(_RISES), _COLUMNS), 0.6)
    np.maximum.at(far, (row[seen], column[seen]), radius[seen])
    # What lies beside counts too: a hat has no dents.
    far = np.max([np.roll(far, k, 1) for k in (-1, 0, 1)], 0)
    edged = np.pad(far, ((3, 3), (0, 0)), "edge")
    far = np.max([edged[k : k + len(far)] for k in range(7)], 0)
    return np.mean([np.roll(far, k, 1) for k in (-1, 0, 1)], 0)


def _down_to(radii: Array, line: Array) -> Array:
    """Return rows (_ROWS, _COLUMNS, 3) of the surface from the crown down to a line of heights."""
    rows = np.empty((_ROWS, _COLUMNS, 3))
    for column, turn in enumerate(_TURNS):
        height = CENTRE[1] + radii[:, column] * np.sin(_RISES)
        end = np.interp(-line[column], -np.minimum.accumulate(height), _RISES)
        rises = np.linspace(_RISES[0], end, _ROWS)
        radius = np.interp(-rises, -_RISES, radii[:, column])
        flat = radius * np.cos(rises)
        place = [np.sin(turn) * flat, radius * np.sin(rises), np.cos(turn) * flat]
        rows[:, column] = np.stack(place, 1) + CENTRE
    rows[0] = rows[0].mean(0)
    return rows


def _outward(points: Array) -> Array:
    """Return unit vectors away from the head's vertical axis."""
    away = (points - CENTRE) * [1, 0, 1]
    return away / np.linalg.norm(away, axis=-1, keepdims=True)


def _cloth(dome: Array, colour: Array, shade: Array) -> Solid:
    """Return the part that covers the head."""
    paint = colour * shade[..., None]
    cloth = grid(_ROWS, _COLUMNS, closed=True)
    return solid(dome.reshape(-1, 3), cloth, paint.reshape(-1, 3), near=0.995)


def _peak(random: np.random.Generator, rim: Array, colour: Array) -> Solid:
    """Return the peak of a cap, its upper side and its lower one."""
    wide = 7  # columns on each side of the nose
    edge = rim[np.arange(-wide, wide + 1)]
    long, down = random.uniform(0.75, 1.1), random.uniform(0.05, 0.35)
    bulge = np.sqrt(np.clip(1 - (np.arange(-wide, wide + 1) / wide) ** 2, 0, 1))[:, None]
    rows = np.stack([
        edge + share * bulge * long * np.array([0, -down, 1]) + [0, 0.1 * share * (1 - share), 0]
        for share in np.linspace(0, 1, 4)
    ])  # fmt: skip
    points, faces = rows.reshape(-1, 3), grid(4, 2 * wide + 1, closed=False)
    upper = solid(points, faces, colour)
    return joined([upper, solid(points - [0, 0.03, 0], faces[:, ::-1], colour * 0.7)])
