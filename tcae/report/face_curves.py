"""The curves of a face over time: gaps, peaks that survive thinning, and events."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SHORTEST = 0.1
"""Seconds: events are at least this long, and so are the breaks between two of them."""

_SLACK = 1e-6


class Event(NamedTuple):
    """An action unit that comes and goes.

    Attributes:
        onset: Time in seconds of the first frame in which it is on.
        peak: Time of the frame with the largest value.
        offset: Time of the last frame in which it is on.
        height: That largest value.
    """

    onset: float
    peak: float
    offset: float
    height: float


def find_events(times: Floats, values: Floats, present: NDArray[np.bool_]) -> list[Event]:
    """Return the events of a unit on one face.

    An event is a run of frames in which the unit is on. Runs with a break of less than `SHORTEST`
    are one, then shorter ones are left out.

    Args:
        times: (M,) seconds of the frames that show the face, rising.
        values: (M,) of the unit, NaN where it is not known.
        present: (M,) whether it is on.
    """
    if not len(times):
        return []
    step = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    on = np.flatnonzero(present & ~np.isnan(values))
    # From the last frame that is on to the first one after the break, both ends included.
    breaks = np.flatnonzero(np.diff(times[on]) - step > SHORTEST - _SLACK)
    events = []
    for run in np.split(on, breaks + 1):
        if len(run) and times[run[-1]] - times[run[0]] + step > SHORTEST - _SLACK:
            inside = np.arange(run[0], run[-1] + 1)
            top = inside[np.nanargmax(values[inside])]
            ends = float(times[run[0]]), float(times[top]), float(times[run[-1]])
            events.append(Event(*ends, float(values[top])))
    return events


class Thinned(NamedTuple):
    """Curves over common times, with few enough points for a page.

    Attributes:
        times: (T,) seconds.
        curves: (K, T) values, NaN where there is none.
        frames: How many frames stand behind two points; 1 if every frame is a point of its own.
    """

    times: Floats
    curves: Floats
    frames: int


def thin(times: Floats, curves: Floats, most: int) -> Thinned:
    """Return curves of many frames as the smallest and the largest value of some frames each.

    No peak gets lost, and none is moved by more than the frames that it is among. Of these frames
    the two values come in the order in which they are in time.

    Args:
        times: (F,) seconds, rising.
        curves: (K, F) values, NaN where there is none.
        most: Largest number of points.
    """
    count = len(times)
    if count <= most:
        return Thinned(times, curves, 1)
    frames = -(-2 * count // most)
    starts = np.arange(0, count, frames)
    padded = np.full((len(curves), len(starts) * frames), np.nan)
    padded[:, :count] = curves
    groups = padded.reshape(len(curves), len(starts), frames)
    empty = np.isnan(groups).all(2)
    low = np.where(np.isnan(groups), np.inf, groups).argmin(2)
    high = np.where(np.isnan(groups), -np.inf, groups).argmax(2)
    order = np.stack([np.minimum(low, high), np.maximum(low, high)], -1)
    points = np.take_along_axis(groups, order, 2)
    points[empty] = np.nan
    ends = np.minimum(starts + frames, count) - 1
    when = np.stack([times[starts], (times[starts] + times[ends]) / 2], 1).ravel()
    return Thinned(when, points.reshape(len(curves), -1), frames)
