"""From a probe's logits to probabilities, decisions and intensities, by people it has not seen.

A probe learns from balanced classes or from intensities, so the sigmoid of its logits is a score
and no probability. Two straight lines in the log odds make numbers of it that mean something
(Platt's scaling): one is fitted to whether a unit is present, one to its intensity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcae.evaluation.metrics import Array

Floats = NDArray[np.floating[Any]]

STRONGEST = 5.0
"""The highest intensity; the scale of FACS from absent to E."""

_STEPS = 100  # of Newton's method at most; it takes about ten


@dataclass(frozen=True)
class Calibration:
    """What the logits of A action units mean.

    Attributes:
        presence: (2, A) slope and offset from logits to the log odds that a unit is present.
        threshold: (A,) probability from which on a unit is called present.
        prior: (A,) share of frames in which it is present where the probabilities hold.
        rest: (A,) mean logit of frames in which it is absent: that of a neutral face.
        intensity: (2, A) slope and offset from logits to the log odds of intensity as a share of
            the strongest. None if intensities were not known.

    Example:
        >>> logits = np.array([[-2.0], [0.0], [2.0], [3.0]])
        >>> labels = np.array([[0.0], [0.0], [1.0], [1.0]])
        >>> calibrate(logits, labels).decisions(logits).ravel()
        array([False, False,  True,  True])
    """

    presence: Array
    threshold: Array
    prior: Array
    rest: Array
    intensity: Array | None = None

    def probabilities(self, logits: Floats) -> Array:
        """Return the probabilities (N, A) that the units are present, of logits (N, A)."""
        return sigmoid(self.presence[0] * logits + self.presence[1])

    def decisions(self, logits: Floats) -> NDArray[np.bool_]:
        """Return whether the units are called present (N, A), of logits (N, A)."""
        return np.asarray(self.probabilities(logits) >= self.threshold)

    def intensities(self, logits: Floats) -> Array:
        """Return the intensities to be expected (N, A), from 0 to 5, of logits (N, A).

        Raises:
            ValueError: No intensities were known where this was fitted.
        """
        if self.intensity is None:
            raise ValueError("calibration: it was fitted without intensities, so it has none")
        return STRONGEST * sigmoid(self.intensity[0] * logits + self.intensity[1])

    def arrays(self) -> dict[str, Array]:
        """Return all numbers by name, as `from_arrays` takes them."""
        return {name: value for name, value in vars(self).items() if value is not None}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Floats]) -> Calibration:
        """Make a calibration of its numbers."""
        return cls(**{name: np.asarray(value, np.float64) for name, value in arrays.items()})


def calibrate(logits: Floats, labels: Floats, intensities: Floats | None = None) -> Calibration:
    """Fit a calibration to frames of people whom the probe has not seen.

    Args:
        logits: (N, A) of the probe. Rows and units that are NaN do not count.
        labels: (N, A) 0, 1 or NaN = unknown.
        intensities: (N, A) in [0, 1], NaN = unknown.

    Raises:
        ValueError: The shapes differ.
    """
    for name, given in (("labels", labels), ("intensities", intensities)):
        if given is not None and given.shape != logits.shape:
            raise ValueError(f"{name}: shape {given.shape} came, {logits.shape} is needed")
    known = [_known(x, y) for x, y in zip(logits.T, labels.T, strict=True)]
    lines = [_line(x, y) for x, y in known]
    chances = [sigmoid(a * x + b) for (a, b), (x, _) in zip(lines, known, strict=True)]
    intensity = None
    if intensities is not None:
        pairs = zip(logits.T, intensities.T, strict=True)
        intensity = np.transpose([_line(*_known(x, y)) for x, y in pairs])
    return Calibration(
        np.transpose(lines),
        np.array([_threshold(p, y) for p, (_, y) in zip(chances, known, strict=True)]),
        np.array([_share(y) for _, y in known]),
        np.array([x[y == 0].mean() if (y == 0).any() else 0.0 for x, y in known]),
        intensity,
    )


def sigmoid(values: Floats) -> Array:
    """Return 1 / (1 + exp(-x)) without overflow."""
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * np.asarray(values, np.float64)))


def log_odds(share: Floats) -> Array:
    """Return the inverse of `sigmoid`; finite for 0 and 1 too."""
    inside = np.clip(np.asarray(share, np.float64), 1e-7, 1 - 1e-7)
    return np.asarray(np.log(inside / (1 - inside)))


def _known(logits: Floats, target: Floats) -> tuple[Array, Array]:
    known = np.isfinite(logits) & np.isfinite(target)
    return logits[known].astype(np.float64), target[known].astype(np.float64)


def _line(x: Array, y: Array) -> tuple[float, float]:
    """Fit slope and offset of the log odds of shares (n,) at logits (n,) by logistic regression.

    The slope is never negative. A weight of one frame pulls it to zero: without, classes that do
    not overlap would make it infinite.
    """
    constant = float(log_odds(np.array(_share(y))))
    if not len(x) or not np.ptp(x):
        return 0.0, constant
    centre, scale = x.mean(), x.std()
    design = np.stack([(x - centre) / scale, np.ones(len(x))])
    line = np.array([0.0, constant])
    for _ in range(_STEPS):
        p = sigmoid(line @ design)
        slope = design @ (y - p) - [line[0], 0]
        curvature = (design * p * (1 - p)) @ design.T + np.diag([1.0, 1e-9])
        step = np.linalg.solve(curvature, slope)
        line = line + step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-9:
            break
    if line[0] <= 0:
        return 0.0, constant
    return float(line[0] / scale), float(line[1] - line[0] * centre / scale)


def _share(y: Array) -> float:
    """Return the mean, drawn a little to the middle: neither 0 nor 1, and known of no frames."""
    return float((y.sum() + 0.5) / (len(y) + 1))


def _threshold(p: Array, y: Array) -> float:
    """Return the probability above which as many frames lie as are positive."""
    count = round(float(y.sum()))
    if not count:
        return 1.0
    falling = np.sort(p)[::-1]
    return float(falling[count - 1 : count + 1].mean())
