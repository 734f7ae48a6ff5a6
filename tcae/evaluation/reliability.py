"""How far probabilities and intensities can be taken at their word."""

from __future__ import annotations

import numpy as np

from tcae.evaluation.metrics import Array

_BINS = 10


def calibration_error(truth: Array, probability: Array) -> float:
    """Return the expected calibration error of one action unit.

    The frames are sorted by probability and cut into ten parts of equal size. In each part the mean
    probability is compared with the share of frames that are positive. The result is the mean of
    the ten absolute differences.

    Args:
        truth: (N,) 0 or 1.
        probability: (N,), in [0, 1].

    Example:
        >>> float(calibration_error(np.array([0.0, 1.0] * 50), np.full(100, 0.75)))
        0.25
    """
    order = np.argsort(probability, kind="stable")
    parts = zip(np.array_split(truth[order], _BINS), np.array_split(probability[order], _BINS),
                strict=True)  # fmt: skip
    return float(sum(abs(t.mean() - p.mean()) * len(t) for t, p in parts if len(t)) / len(truth))


def brier(truth: Array, probability: Array) -> float:
    """Return the mean squared difference of probabilities (N,) from labels (N,), 0 or 1."""
    return float(np.square(probability - truth).mean())


def icc(truth: Array, predicted: Array) -> float:
    """Return the intra-class correlation ICC(3, 1) of two judges of the same N frames.

    It is 1 if they differ by a constant only, and falls with any other difference. (Shrout and
    Fleiss 1979; the usual measure of intensities of action units.)

    Args:
        truth: (N,) intensities.
        predicted: (N,) intensities.
    """
    between = 2 * np.var((truth + predicted) / 2, ddof=1)
    rest = np.var(truth - predicted, ddof=1) / 2
    return float((between - rest) / (between + rest)) if between + rest else 0.0
