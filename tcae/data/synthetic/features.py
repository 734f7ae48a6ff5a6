"""The places of lips, brows, beards and so on in the texture plane."""

from __future__ import annotations

from functools import cache

import numpy as np

from tcae.data.synthetic.atlas import FLESH, Atlas, Field, azimuth, bump, ramp
from tcae.data.synthetic.head import PARTS, Head

Box = tuple[slice, slice]


@cache
def box(size: int, name: str) -> tuple[Box, Field]:
    """Return the rectangle of the plane that a feature covers, and the feature in it."""
    feature = features(size)[name]
    rows = np.flatnonzero((feature > 0.01).any(1))
    columns = np.flatnonzero((feature > 0.01).any(0))
    where = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return where, feature[where]


@cache
def features(size: int) -> dict[str, Field]:
    """Return how much each texel of the upper part of the plane belongs to each feature.

    Args:
        size: Side of the plane in texels.

    Returns:
        Name -> (`FLESH` size, size) float32 in [0, 1]; "height" and "azimuth" are places on the
        head instead.
    """
    found = _from_masks(size)
    h = round(FLESH * size)
    place, part = Atlas.of(size).place[:h], Atlas.of(size).part[:h]
    x, y, z = np.abs(place[..., 0]), place[..., 1], place[..., 2]
    skin = (part == PARTS.index("skin")).astype(np.float32)
    found |= {"height": y, "azimuth": azimuth(place)}
    front = skin * ramp(z, -0.9, -0.5)
    for name, centre, width in (
        ("cheeks", (0.62, -0.6), (0.22, 0.22)),
        ("nose", (0.0, -0.62), (0.15, 0.14)),
        ("chin", (0.0, -1.5), (0.25, 0.15)),
        ("forehead", (0.0, 0.65), (0.4, 0.2)),
        ("under_eyes", (0.45, -0.24), (0.2, 0.06)),
        ("sockets", (0.45, 0.05), (0.3, 0.16)),
        ("lids", (0.5, 0.1), (0.22, 0.07)),
    ):
        found[name] = bump(place, centre, width) * skin
    fold = 0.24 + (-0.62 - y) * 0.42  # from the nose's wing to beside the mouth
    folds = np.exp(-0.5 * ((x - fold) / 0.025) ** 2) * ramp(y, -1.15, -0.95) * ramp(y, -0.55, -0.7)
    lines = np.exp(-0.5 * (np.sin(y * 42) / 0.35) ** 2) * ramp(y, 0.45, 0.6) * ramp(y, 1.0, 0.85)
    found["creases"] = np.asarray(folds + 0.5 * lines * ramp(x, 0.6, 0.3)) * front
    line = np.interp(
        found["azimuth"], [0, 0.3, 0.5, 0.9, 1.4, 1.7], [-0.86, -0.88, -1.02, -0.9, -0.5, -0.3]
    )
    found["beard"] = ramp(y - line, 0.04, -0.1) * ramp(found["azimuth"], 1.75, 1.55)
    found["beard"] *= ramp(y, -2.1, -1.8) * skin * (1 - found["ears"])
    low = np.hypot(x / 0.46, (y + 1.3) / 0.48)
    found["goatee"] = ramp(low, 1.05, 0.9) * front * ramp(y, -0.98, -1.1)
    found["moustache"] = ramp(np.hypot(x / 0.44, (y + 1.0) / 0.2), 1.05, 0.85) * front
    found["moustache"] *= ramp(y, -0.8, -0.86)
    found["brows"] = ((x < 1.0) & (np.abs(y - 0.28) < 0.3) & (z > -0.5)) * skin
    neck = (part == PARTS.index("neck")).astype(np.float32)
    found["clothes"] = ramp(y + 0.12 * x, -2.1, -2.14) * neck
    return found


def _from_masks(size: int) -> dict[str, Field]:
    """Return the features that the head's own masks mark."""
    h = round(FLESH * size)
    atlas, masks = Atlas.of(size), Head.load().masks
    names = (("lips", "lips"), ("rims", "eyelids"), ("ears", "ears"), ("inside", "inside-mouth"))
    found = {name: atlas.spread(masks[mask])[:h] for name, mask in names}
    part = atlas.part[:h]
    found["lips"] = ramp(found["lips"], 0.2, 0.8)
    inner = ramp(found["inside"], 0.5, 1.0) * (part != PARTS.index("skin"))
    found["inside"] = np.maximum(inner, part == PARTS.index("mouth")).astype(np.float32)
    return found
