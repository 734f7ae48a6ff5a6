"""Smoothing over time that does not shift events."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcae.evaluation.metrics import Array

_GAP = 1.5  # usual steps; a longer step is a gap


def smooth(values: NDArray[np.floating[Any]], times: Array, seconds: float) -> Array:
    """Smooth the values of one face.

    Around each frame, a parabola is fitted to all frames less than `seconds` / 2 away, the near
    ones counting more (tricube weights), and its value at the frame is taken. As both sides count
    alike, nothing is early or late; as it is a parabola, peaks keep nearly all of their height.
    Frames beyond a gap do not count: where the face was lost, or the video was cut.

    Args:
        values: (N, A).
        times: (N,) in seconds, ascending.
        seconds: Width of the window. 0 changes nothing.

    Returns:
        (N, A). A frame with fewer than two others in its window stays as it is.

    Raises:
        ValueError: `seconds` is negative or not finite.

    Example:
        >>> times = np.arange(5) / 25
        >>> smooth(np.array([[0.0], [1.0], [0.0], [1.0], [0.0]]), times, 0.2).round(2)[2]
        array([0.52])
    """
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"smooth: {seconds} came, a number of seconds from 0 on is needed")
    smoothed = np.array(values, np.float64)
    for start, stop in _stretches(times):
        part = slice(start, stop)
        smoothed[part] = _smooth_stretch(smoothed[part], times[part], seconds / 2)
    return smoothed


def _stretches(times: Array) -> list[tuple[int, int]]:
    """Return where stretches without a gap begin and end."""
    steps = np.diff(times)
    usual = np.median(steps) if len(steps) else 0.0
    ends = [0, *(np.flatnonzero(steps > _GAP * usual) + 1).tolist(), len(times)]
    return list(pairwise(ends))


def _smooth_stretch(values: Array, times: Array, half: float) -> Array:
    first = np.searchsorted(times, times - half, side="right")
    last = np.searchsorted(times, times + half, side="left")
    smoothed = values.copy()
    for i, (a, b) in enumerate(zip(first, last, strict=True)):
        if b - a < 3:
            continue
        x = (times[a:b] - times[i]) / half
        weight = (1 - np.abs(x) ** 3) ** 3
        design = np.stack([np.ones_like(x), x, x**2]) * weight
        # The value of the parabola at x = 0 is a weighted mean of the frames.
        moments = design @ np.stack([np.ones_like(x), x, x**2]).T
        smoothed[i] = np.linalg.solve(moments, design @ values[a:b])[0]
    return smoothed
