"""Do the probe and an independent landmarker agree on real faces?

For each clip and action unit, the probe's probability is correlated over time with the landmarker's
blendshape score. Only units that move in the clip count: a correlation with noise means nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tcae.evaluation.metrics import Array

BLENDSHAPES: dict[str, tuple[str, ...]] = {
    "AU01": ("browInnerUp",),
    "AU02": ("browOuterUpLeft", "browOuterUpRight"),
    "AU04": ("browDownLeft", "browDownRight"),
    "AU10": ("mouthUpperUpLeft", "mouthUpperUpRight"),
    "AU12": ("mouthSmileLeft", "mouthSmileRight"),
    "AU17": ("mouthShrugLower",),
    "AU20": ("mouthStretchLeft", "mouthStretchRight"),
    "AU26": ("jawOpen",),
    "AU45": ("eyeBlinkLeft", "eyeBlinkRight"),
}
"""The landmarker's scores that stand for an action unit. Of two scores the mean counts."""

VARIES = 0.05
"""A unit varies in a clip if the standard deviation of its score (0 to 1) is at least this."""

ENOUGH = 30
"""Fewer frames with a face for both than this (about a second) give no correlation."""

_TOLERANCE = 1e-3  # seconds; tables may round their times

Series = Mapping[float, Mapping[str, float]]
"""Values by name for each time in seconds. Frames without a face are left out."""


class Agreement(NamedTuple):
    """One action unit in one clip.

    Attributes:
        clip: Name of the clip.
        unit: The action unit, as `AU12`.
        frames: Frames in which both found a face.
        deviation: Standard deviation of the landmarker's score over them.
        correlation: Pearson correlation of the probe's output with that score. It is 0 if the
            output never changes, and NaN, which does not count, if the unit does not vary or there
            are too few frames.
    """

    clip: str
    unit: str
    frames: int
    deviation: float
    correlation: float

    @property
    def counts(self) -> bool:
        """Return whether the unit varies in the clip."""
        return not np.isnan(self.correlation)


def compare(clip: str, outputs: Series, scores: Series) -> list[Agreement]:
    """Compare the outputs for one clip with the landmarker's scores, unit by unit.

    Frames of the two series belong together if their times differ by a millisecond at most.

    Args:
        clip: Name of the clip.
        outputs: The probe's outputs by action unit, for each frame.
        scores: The landmarker's blendshape scores, for each frame.

    Returns:
        One row for each unit of `BLENDSHAPES` that the outputs have.

    Example:
        >>> times = [k / 30 for k in range(60)]
        >>> scores = {t: {"jawOpen": t / 2} for t in times}
        >>> row, = compare("talk", {t: {"AU26": 0.9 - 0.1 * t} for t in times}, scores)
        >>> f"{row.unit} {row.frames} {row.correlation:.2f}"
        'AU26 60 -1.00'
    """
    pairs = common_times(outputs, scores)
    known = {unit for values in outputs.values() for unit in values}
    rows = []
    for unit, shapes in BLENDSHAPES.items():
        if unit in known:
            output = np.array([outputs[ours][unit] for ours, _ in pairs], float)
            score = np.array([np.mean([scores[its][name] for name in shapes]) for _, its in pairs])
            deviation = float(score.std()) if pairs else 0.0
            varies = deviation >= VARIES and len(pairs) >= ENOUGH
            value = _pearson(output, score) if varies else float("nan")
            rows.append(Agreement(clip, unit, len(pairs), deviation, value))
    return rows


def mean_correlation(rows: Iterable[Agreement]) -> tuple[float, int]:
    """Return the mean over all units that vary in their clip (NaN for none), and their number."""
    found = [row.correlation for row in rows if row.counts]
    return (float(np.mean(found)) if found else float("nan")), len(found)


def agreement_table(rows: Sequence[Agreement]) -> str:
    """Return the rows and their mean as aligned text. Rows that do not count have a dash."""
    width = max([len(row.clip) for row in rows] + [4])
    lines = [f"{'clip':{width}}  unit  frames  score's sd  correlation"]
    for row in rows:
        value = f"{row.correlation:.3f}" if row.counts else "-"
        lines.append(
            f"{row.clip:{width}}  {row.unit}  {row.frames:6d}  {row.deviation:10.3f}  {value:>11}"
        )
    mean, count = mean_correlation(rows)
    words = f"mean of {count}" if count else "none varies"
    lines.append(f"{words:{width + 26}}  {f'{mean:.3f}' if count else '-':>11}")
    return "\n".join(lines)


def unit_table(rows: Sequence[Agreement]) -> str:
    """Return the mean of each unit over the clips in which it varies, and its range, as Markdown.

    The last row is of all pairs of clip and unit, each counted once.
    """
    counted: dict[str, list[float]] = {}
    for row in rows:
        if row.counts:
            counted.setdefault(row.unit, []).append(row.correlation)
    every = [value for values in counted.values() for value in values]
    lines = ["| unit | clips | mean | lowest | highest |", "| --- | ---: | ---: | ---: | ---: |"]
    for unit, values in [*sorted(counted.items()), *([("all", every)] if every else [])]:
        cells = f"{np.mean(values):.2f} | {min(values):.2f} | {max(values):.2f}"
        lines.append(f"| {unit} | {len(values)} | {cells} |")
    return "\n".join(lines)


def common_times(outputs: Series, scores: Series) -> list[tuple[float, float]]:
    """Return the times of the frames that both series have, in both clocks."""
    if not scores:
        return []
    theirs = np.sort([*scores])
    pairs = []
    for time in sorted(outputs):
        nearest = float(theirs[np.abs(theirs - time).argmin()])
        if abs(nearest - time) <= _TOLERANCE:
            pairs.append((time, nearest))
    return pairs


def _pearson(a: Array, b: Array) -> float:
    if np.ptp(a) == 0:  # an output that never changes knows nothing of a score that does
        return 0.0
    a, b = a - a.mean(), b - b.mean()
    return float(np.clip((a @ b) / np.sqrt((a @ a) * (b @ b)), -1, 1))
