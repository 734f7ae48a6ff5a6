"""What a table says of the faces in a video, in a sentence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tcae.data.action_units import in_words
from tcae.report.face_table import FaceTable, Track

_FEW = 3


def duration(seconds: float) -> str:
    """Return a time span in words.

    Example:
        >>> duration(9.96), duration(75), duration(7260), duration(18000)
        ('10 s', '1 min 15 s', '2 h 1 min', '5 h')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s" if whole else f"{seconds:.2g} s"
    large, small, names = (whole // 60, whole % 60, ("min", "s"))
    if whole >= 3600:
        large, small, names = (whole // 3600, whole % 3600 // 60, ("h", "min"))
    return f"{large} {names[0]} {small} {names[1]}" if small else f"{large} {names[0]}"


def verdict(table: FaceTable, tracks: Sequence[Track], seconds: float) -> str:
    """Return how many faces a video shows, and which action units are most often on.

    Args:
        table: The rows of the video.
        tracks: Its faces, of `FaceTable.tracks`.
        seconds: Length of the video.
    """
    if not tracks:
        return f"No face in {duration(seconds)}."
    count = "One face" if len(tracks) == 1 else f"{len(tracks)} faces"
    rows = np.concatenate([track.rows for track in tracks])
    shares = {unit: float(table.present(unit)[rows].mean()) for unit in table.units}
    often = sorted((unit for unit in shares if shares[unit]), key=lambda unit: -shares[unit])
    if not often:
        return f"{count} in {duration(seconds)}; no action unit is on."
    named = ", ".join(f"{in_words(unit) or unit} ({shares[unit]:.0%})" for unit in often[:_FEW])
    return f"{count} in {duration(seconds)}; most often on: {named} of the frames."


def picture_verdict(table: FaceTable, pictures: int) -> str:
    """Return how many faces some pictures show, and which action units are most often on."""
    rows = np.flatnonzero(table.found)
    where = "one picture" if pictures == 1 else f"{pictures} pictures"
    if not len(rows):
        return f"No face in {where}."
    count = "One face" if len(rows) == 1 else f"{len(rows)} faces"
    counts = {unit: int(table.present(unit)[rows].sum()) for unit in table.units}
    often = sorted((unit for unit in counts if counts[unit]), key=lambda unit: -counts[unit])
    if not often:
        return f"{count} in {where}; no action unit is on."
    if pictures == 1:
        return f"{count} in {where}; on: {', '.join(in_words(unit) or unit for unit in often)}."
    named = ", ".join(f"{in_words(unit) or unit} ({counts[unit]})" for unit in often[:_FEW])
    return f"{count} in {where}; most often on: {named}."
