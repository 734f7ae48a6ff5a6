"""F1, ROC AUC and prevalence per action unit, with bootstrap intervals over subjects.

Frames of one person are not independent, so the intervals resample *subjects*: a subject that is
drawn twice counts all its frames twice. Resampling thus changes only the weight of a frame, and
each action unit is sorted once for all resamples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

# Frame weights in memory at once while resampling: 2 MiB of float64, about a second-level cache.
_CHUNK_ELEMENTS = 1 << 18


@dataclass(frozen=True)
class Interval:
    """Percentile bounds of one score: ``low`` and ``high`` (A,), and of the mean over units."""

    low: Array
    high: Array
    mean_low: float
    mean_high: float


@dataclass(frozen=True)
class Scores:
    """Scores of A action units; NaN where a unit has only one class (or no known label).

    Attributes:
        frames: Weight of the known labels, (A,): their number if no weights were given.
        prevalence: Share of positive labels, (A,).
        f1: F1 at the threshold, (A,).
        auc: Area under the ROC curve, ties count one half, (A,).
    """

    frames: Array
    prevalence: Array
    f1: Array
    auc: Array

    @property
    def f1_mean(self) -> float:
        """Return the mean F1 of the units that have one; NaN if none has."""
        return float(_mean(self.f1))

    @property
    def auc_mean(self) -> float:
        """Return the mean AUC of the units that have one; NaN if none has."""
        return float(_mean(self.auc))


def score(
    truth: ArrayLike,
    probability: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    threshold: float = 0.5,
) -> Scores:
    """Score predicted probabilities against occurrence labels, unit by unit.

    A frame counts for a unit if both its label and its probability are known (not NaN). A unit with
    only one class among these frames has neither F1 nor AUC: both are NaN and left out of the
    means.

    Args:
        truth: (N, A) labels: 0, 1 or NaN = unknown.
        probability: (N, A) predictions on any scale that suits the threshold; NaN = none.
        weight: (N,) non-negative sample weights; one each by default.
        threshold: Predictions at or above it are positive.

    Raises:
        ValueError: Shapes differ, a label is neither 0, 1 nor NaN, or a weight is negative.

    Example:
        >>> score([[0.0], [1.0], [1.0]], [[0.2], [0.9], [0.4]]).f1.round(3)
        array([0.667])
    """
    units = _units(truth, probability, threshold, weight)
    return Scores(*np.array([unit.scores(np.ones((1, 1)))[:, 0] for unit in units]).T)


def bootstrap(
    truth: ArrayLike,
    probability: ArrayLike,
    subjects: ArrayLike,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    threshold: float = 0.5,
) -> tuple[Interval, Interval]:
    """Return percentile intervals of F1 and AUC, from resampling subjects with replacement.

    Resamples in which a unit has only one class are left out of that unit's interval, and the
    unit out of that resample's mean.

    Args:
        truth: (N, A) as for `score`.
        probability: (N, A) as for `score`.
        subjects: (N,) names or numbers of the people.
        resamples: Number of bootstrap samples.
        level: Coverage of the interval, between 0 and 1.
        seed: The same seed and data give the same interval, in whatever order the frames come.
        threshold: As for `score`.

    Returns:
        The interval of F1 and the interval of AUC.

    Raises:
        ValueError: As for `score`; or subjects of another length, no resample, a level outside
            (0, 1).
    """
    if resamples < 1:
        raise ValueError(f"resamples: {resamples} is no number of resamples, 1 or more are needed")
    if not 0 < level < 1:
        raise ValueError(f"level: {level} lies outside (0, 1)")
    subject, draws = draw_people(subjects, resamples, seed)
    units = _units(truth, probability, threshold, subject=subject)
    results = np.array([unit.scores(draws) for unit in units])
    return _interval(results[:, 2], level), _interval(results[:, 3], level)


def draw_people(
    subjects: ArrayLike, resamples: int = 1000, seed: int = 0
) -> tuple[NDArray[np.intp], Array]:
    """Draw bootstrap samples of people, as many as there are, with replacement.

    Args:
        subjects: (N,) the person of each row, by name or number.
        resamples: Number of samples R.
        seed: The same seed and the same people give the same samples.

    Returns:
        (N,) the number of each row's person among the S people, and (R, S) how often each person
        was drawn.
    """
    names, subject = np.unique(np.asarray(subjects), return_inverse=True)
    random = np.random.default_rng(seed)
    draws = random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    return subject, draws.astype(np.float64)


@dataclass(frozen=True)
class _Unit:
    """The known frames of one action unit, in ascending order of their probability."""

    subject: NDArray[np.intp]  # (n,)
    negative: Array  # (n,) weight of a negative frame, 0 for a positive one
    positive: NDArray[np.intp]  # (p,) places of the positive frames
    gain: Array  # (p,) their weights
    first: NDArray[np.intp]  # (p,) number of frames with a smaller probability
    last: NDArray[np.intp]  # (p,) number of frames with a smaller or equal one
    found: int  # place of the first frame that reaches the threshold

    def scores(self, draws: Array) -> Array:
        """Return frames, prevalence, F1 and AUC, (4, R), for multiplicities (R, S) of subjects."""
        rows = max(1, _CHUNK_ELEMENTS // max(1, len(self.subject)))
        chunks = [self._sums(draws[start : start + rows]) for start in range(0, len(draws), rows)]
        hits, false_alarms, positives, negatives, wins = np.concatenate(chunks, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            frames = positives + negatives
            f1 = 2 * hits / (positives + hits + false_alarms)
            auc = wins / (positives * negatives)
            prevalence = positives / frames
        both = (positives > 0) & (negatives > 0)
        nan = np.nan
        return np.stack([frames, prevalence, np.where(both, f1, nan), np.where(both, auc, nan)])

    def _sums(self, draws: Array) -> Array:
        # below[:, k] is the weight of the negatives among the first k frames: what a positive
        # beats, taken half at the start and half at the end of its run of equal probabilities.
        below = np.zeros((len(draws), len(self.subject) + 1))
        np.cumsum(draws[:, self.subject] * self.negative, axis=1, out=below[:, 1:])
        gain = draws[:, self.subject[self.positive]] * self.gain
        return np.stack(
            [
                gain[:, np.searchsorted(self.positive, self.found) :].sum(1),
                below[:, -1] - below[:, self.found],
                gain.sum(1),
                below[:, -1],
                (gain * (below[:, self.first] + below[:, self.last])).sum(1) / 2,
            ]
        )


def _units(
    truth: ArrayLike,
    probability: ArrayLike,
    threshold: float,
    weight: ArrayLike | None = None,
    subject: NDArray[np.intp] | None = None,
) -> list[_Unit]:
    """Check the input and sort each unit's known frames once."""
    truth, probability = np.asarray(truth, np.float64), np.asarray(probability, np.float64)
    if truth.ndim != 2 or truth.shape[1] == 0 or truth.shape != probability.shape:
        raise ValueError(
            f"truth and probability: shapes {truth.shape} and {probability.shape} came, "
            "the same (frames, units) is needed, with a unit at least"
        )
    if not np.all(np.isnan(truth) | (truth == 0) | (truth == 1)):
        raise ValueError("truth: holds values other than 0, 1 and NaN (unknown)")
    weights = np.ones(len(truth)) if weight is None else np.asarray(weight, np.float64)
    subject = np.zeros(len(truth), np.intp) if subject is None else subject
    for name, values in (("weight", weights), ("subjects", subject)):
        if values.shape != truth.shape[:1]:
            raise ValueError(f"{name}: shape {values.shape} came, {truth.shape[:1]} is needed")
    if not np.all(weights >= 0):
        raise ValueError("weight: holds negative values or NaN")
    return [
        _unit(truth[:, a], probability[:, a], threshold, weights, subject)
        for a in range(truth.shape[1])
    ]


def _unit(
    truth: Array, probability: Array, threshold: float, weight: Array, subject: NDArray[np.intp]
) -> _Unit:
    known = np.flatnonzero(~(np.isnan(truth) | np.isnan(probability)))
    # Ties are ordered by subject and label, so that sums do not depend on the order of the frames.
    order = known[np.lexsort((weight[known], truth[known], subject[known], probability[known]))]
    ascending = probability[order]
    positive = np.flatnonzero(truth[order] == 1)
    return _Unit(
        subject=subject[order],
        negative=weight[order] * (1 - truth[order]),
        positive=positive,
        gain=weight[order][positive],
        first=np.searchsorted(ascending, ascending[positive], side="left"),
        last=np.searchsorted(ascending, ascending[positive], side="right"),
        found=int(np.searchsorted(ascending, threshold, side="left")),
    )


def _interval(values: Array, level: float) -> Interval:
    """Return the percentile interval of (A, R) resampled scores, ignoring NaN."""
    tails = [50 * (1 - level), 50 * (1 + level)]
    low, high = np.array([percentiles(row, tails) for row in values]).reshape(-1, 2).T
    mean_low, mean_high = percentiles(_mean(values), tails)
    return Interval(low, high, float(mean_low), float(mean_high))


def percentiles(values: Array, tails: list[float]) -> Array:
    """Return the percentiles of the values that are not NaN; NaN if all are."""
    known = values[~np.isnan(values)]
    return np.percentile(known, tails) if known.size else np.full(2, np.nan)


def _mean(values: Array) -> Array:
    """Average over axis 0 what is not NaN; NaN (and no warning) where nothing is left."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum(0) / known.sum(0)
