"""The page of a video: the film with its faces marked, and a curve for every action unit."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcae import __version__
from tcae.data.action_units import in_words
from tcae.report.face_curves import SHORTEST, Thinned, find_events, thin
from tcae.report.face_summary import duration, verdict
from tcae.report.face_table import KINDS, FaceTable, Track, largest
from tcae.report.overlay import FACE_COLOURS
from tcae.report.page import address_of, asset, download_link, page

Floats = NDArray[np.float64]

MOST_FILM = 50_000_000
"""Bytes: a longer film lies beside the page."""

MOST_POINTS = 20_000
"""Points of a curve on the page."""


def video_page(
    video: Path, table: FaceTable, film: Path, shape: tuple[int, int], seconds: float
) -> str:
    """Return the page.

    Args:
        video: The video.
        table: Its rows.
        film: The video with its faces marked, of `tcae.report.overlay_video`. A small one is held
            by the page.
        shape: Height and width of the picture in the film, without the bars beside it.
        seconds: Length of the video.
    """
    tracks = table.tracks()
    shown = tracks[: len(FACE_COLOURS)]
    views = [_strips(table, shown, kind) for kind in table.kinds]
    thinned = thin(table.times, np.concatenate([curves for _, curves in views]), MOST_POINTS)
    data = {
        "duration": max(seconds, 0.001),
        "times": np.round(thinned.times, 4).tolist(),
        "faces": [{"label": f"face {track.face}"} for track in shown],
        "views": [
            {"name": KINDS[kind], "strips": _with_curves(strips, curves)}
            for kind, (strips, _), curves in zip(
                table.kinds, views, np.split(thinned.curves, len(views)), strict=True
            )
        ],
        "events": _events(table, shown),
    }
    held = film.stat().st_size <= MOST_FILM
    source = "" if held else f' src="{address_of(film.name)}"'
    beside = os.path.relpath(table.path, film.parent)
    body = asset("video_page.html").format(
        title=escape(video.name),
        verdict=escape(verdict(table, tracks, seconds)),
        download=download_link(table.text, f"{video.stem}.csv", beside),
        source=source,
        height=shape[0],
        width=shape[1],
        film=base64.b64encode(film.read_bytes()).decode() if held else "",
        data=json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
        notes="".join(f"<p>{escape(note)}</p>" for note in _notes(table, tracks, thinned)),
        licence=asset("LICENSE-uPlot"),
        version=__version__,
    )
    styles, scripts = ["uPlot.min.css", "video_page.css"], ["uPlot.iife.min.js", "video_page.js"]
    return page(f"{video.name}: faces", body, styles, scripts)


def _with_curves(strips: Sequence[dict[str, Any]], curves: Floats) -> list[dict[str, Any]]:
    return [
        {**strip, "curves": [_plain(curve) for curve in curves[i :: len(strips)]]}
        for i, strip in enumerate(strips)
    ]


def _strips(
    table: FaceTable, tracks: Sequence[Track], kind: str
) -> tuple[list[dict[str, Any]], Floats]:
    """Return what is said of each strip, and the curves: all strips of a face, then the next."""
    strips, columns = [], []
    for unit in table.units:
        words = in_words(unit)
        strips.append({"unit": unit, "words": words, "low": 0, "high": largest(kind), "digits": 2})
        columns.append(table.values(unit, kind))
    for name, angle in table.angles.items():
        most = max(30, int(np.ceil(np.nanmax(np.abs(angle), initial=0) / 10)) * 10)
        strips.append({"unit": f"{name} °", "words": "", "low": -most, "high": most, "digits": 0})
        columns.append(angle)
    curves = np.full((len(tracks), len(strips), len(table.times)), np.nan)
    for k, track in enumerate(tracks):
        curves[k][:, track.frames] = [column[track.rows] for column in columns]
    for strip, each in zip(strips, curves.swapaxes(0, 1), strict=True):
        strip["about"] = _about(strip, each, table.times, tracks)
    return strips, curves.reshape(-1, len(table.times))


def _about(strip: dict[str, Any], each: Floats, times: Floats, tracks: Sequence[Track]) -> str:
    """Say in words what a strip shows."""
    parts = []
    for track, curve in zip(tracks, each, strict=True):
        if not np.isnan(curve).all():
            top = int(np.nanargmax(curve))
            parts.append(
                f"face {track.face}: mean {np.nanmean(curve):.2f}, "
                f"highest {curve[top]:.2f} at {times[top]:.1f} s"
            )
    return f"{strip['unit']} {strip['words']}. {'; '.join(parts)}"


def _plain(curve: Floats) -> list[float | None]:
    return [None if np.isnan(value) else round(float(value), 3) for value in curve]


def _events(table: FaceTable, tracks: Sequence[Track]) -> list[list[float]]:
    """Return strip, face, onset, peak, offset and height of all events, by their onset."""
    events = []
    for i, unit in enumerate(table.units):
        values, present = table.values(unit), table.present(unit)
        for k, track in enumerate(tracks):
            found = find_events(table.times[track.frames], values[track.rows], present[track.rows])
            events += [[i, k, *(round(part, 4) for part in event)] for event in found]
    return sorted(events, key=lambda event: event[2])


def _notes(table: FaceTable, tracks: Sequence[Track], thinned: Thinned) -> list[str]:
    faces = len({int(frame) for track in tracks for frame in track.frames})
    shown = " or ".join(
        f"AUxx_{kind} ({KINDS[kind]}, 0 to {largest(kind)})" for kind in table.kinds
    )
    notes = [
        f"{len(table.times):,} frames, {faces / len(table.times):.0%} of them with a face. Curves "
        f"show the columns {shown}. A gap is a frame without the face.",
        f"A bar below a curve, and a line of the list, is an event: {table.rule}, for at least "
        f"{SHORTEST:g} s; shorter breaks are bridged.",
    ]
    if thinned.frames > 1:
        span = duration(thinned.frames * float(np.median(np.diff(table.times))))
        notes.append(
            f"Curves are thinned: two points, the smallest and the largest value, for every "
            f"{thinned.frames} frames ({span}). Events and the table come from all frames."
        )
    if len(tracks) > len(FACE_COLOURS):
        notes.append(
            f"Curves show the {len(FACE_COLOURS)} faces that are in most frames; the table has all "
            f"{len(tracks)}."
        )
    if table.text is None:
        notes.append(f"The table is too large for the page and lies beside it: {table.path.name}.")
    return notes
