"""Figures with intervals from resampling people."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tcae.evaluation.metrics import Array, draw_people, percentiles

_TAILS = [2.5, 97.5]


class Estimate(NamedTuple):
    """A figure and the bounds of its 95 % bootstrap interval over people; NaN where unknown."""

    value: float
    low: float = float("nan")
    high: float = float("nan")


def flat(measures: Mapping[str, Estimate]) -> dict[str, float]:
    """Write measures as plain numbers: ``x``, ``x_low``, ``x_high``; what is unknown is left out.

    Example:
        >>> flat({"auc": Estimate(0.7, 0.6, 0.8), "f1": Estimate(0.5)})
        {'auc': 0.7, 'auc_low': 0.6, 'auc_high': 0.8, 'f1': 0.5}
    """
    numbers = {
        name + ending: number
        for name, estimate in measures.items()
        for ending, number in zip(("", "_low", "_high"), estimate, strict=True)
    }
    return {name: number for name, number in numbers.items() if math.isfinite(number)}


def ratio(numerator: ArrayLike, denominator: ArrayLike, subjects: ArrayLike) -> Estimate:
    """Return the sum of one value over the sum of another: large rows count more than small ones.

    Args:
        numerator: (N,) values.
        denominator: (N,) values.
        subjects: (N,) the person of each row.

    Raises:
        ValueError: The lengths differ, or there are no rows.

    Example:
        >>> ratio([1.0, 2.0], [4.0, 4.0], ["anna", "bert"]).value
        0.375
    """
    values = np.stack([_rows("numerator", numerator, subjects), np.asarray(denominator, float)])
    sums = _sums(values.T, subjects)
    with np.errstate(invalid="ignore", divide="ignore"):
        return _estimate(sums[:, 0] / sums[:, 1])


def gain(error: ArrayLike, baseline: ArrayLike, subjects: ArrayLike) -> Estimate:
    """Return the share by which an error is lower than a baseline's: 1 - `ratio` of the two."""
    value, low, high = ratio(error, baseline, subjects)
    return Estimate(1 - value, 1 - high, 1 - low)


def r_squared(truth: Array, predicted: Array, subjects: ArrayLike) -> Estimate:
    """Return the coefficient of determination, the mean over columns.

    For each column it is 1 - (squared error) / (squared distance of the truth from its mean), both
    summed over all rows. A resample has a mean of its own.

    Args:
        truth: (N, K).
        predicted: (N, K), each from a model that was not fitted to the row.
        subjects: (N,) the person of each row.

    Raises:
        ValueError: The shapes differ, or there are no rows.
    """
    if truth.shape != predicted.shape or truth.ndim != 2:
        raise ValueError(
            f"predicted: shape {predicted.shape} came, {truth.shape} is needed, as of the truth"
        )
    centred = truth - truth.mean(0)  # or squares of large means would cancel
    columns = [np.ones((len(truth), 1)), centred, centred**2, (truth - predicted) ** 2]
    _rows("truth", truth[:, 0], subjects)
    sums = _sums(np.concatenate(columns, 1), subjects)
    count, rest = sums[:, :1], sums[:, 1:]
    first, second, error = np.split(rest, 3, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return _estimate((1 - error / (second - first**2 / count)).mean(1))


def _rows(name: str, values: ArrayLike, subjects: ArrayLike) -> Array:
    rows = np.asarray(values, float)
    if rows.shape != np.shape(subjects) or not rows.size:
        raise ValueError(
            f"{name}: shape {rows.shape} came, one value for each of the {np.shape(subjects)} "
            "subjects is needed, and one at least"
        )
    return rows


def _sums(rows: Array, subjects: ArrayLike) -> Array:
    """Return the sums of (N, K) rows: over everybody first, then over each resample; (1 + R, K)."""
    subject, draws = draw_people(subjects)
    by_person = np.zeros((draws.shape[1], rows.shape[1]))
    np.add.at(by_person, subject, rows)
    return np.concatenate([by_person.sum(0)[None], draws @ by_person])


def _estimate(values: Array) -> Estimate:
    """Make an estimate from the value over everybody and those of the resamples."""
    low, high = percentiles(values[1:], _TAILS)
    return Estimate(float(values[0]), float(low), float(high))
