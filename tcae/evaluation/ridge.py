"""Ridge regression on folds that never share a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tcae.evaluation.folds import subject_folds
from tcae.evaluation.metrics import Array


def predict_out_of_fold(
    features: NDArray[np.floating],
    targets: NDArray[np.floating],
    subjects: Sequence[str],
    *,
    folds: int = 3,
    l2: float = 1.0,
    seed: int = 0,
) -> Array:
    """Predict each row by a ridge regression that was fitted to other people.

    Features are normalised by the mean and standard deviation of the training rows; a constant
    feature is left out. The regression minimises the summed squared error plus `l2` times the
    squared weights, with a free offset: the penalty of `ProbeConfig.l2`.

    Args:
        features: (N, D).
        targets: (N, K).
        subjects: The person of each row.
        folds: Number of folds, dealt as `subject_folds` deals them.
        l2: The penalty.
        seed: Of the folds.

    Returns:
        (N, K) predictions.

    Raises:
        ValueError: Fewer people than folds.
    """
    fold_of = subject_folds(subjects, folds, seed)
    fold = np.array([fold_of[subject] for subject in subjects])
    predictions = np.empty(targets.shape)
    for k in range(folds):
        rest = fold != k
        predictions[~rest] = fit_ridge(features[rest], targets[rest], l2)(features[~rest])
    return predictions


class Ridge(NamedTuple):
    """A linear map, `features @ weights + offset`.

    Attributes:
        weights: (D, K).
        offset: (K,).
    """

    weights: Array
    offset: Array

    def __call__(self, features: NDArray[np.floating]) -> Array:
        """Return the predictions (N, K) of features (N, D)."""
        result: Array = features.astype(np.float64) @ self.weights + self.offset
        return result


def fit_ridge(
    features: NDArray[np.floating], targets: NDArray[np.floating], l2: float = 1.0
) -> Ridge:
    """Fit a ridge regression as `predict_out_of_fold` describes it.

    Args:
        features: (N, D).
        targets: (N, K).
        l2: The penalty.
    """
    x, y = features.astype(np.float64), targets.astype(np.float64)
    mean, scale, offset = x.mean(0), x.std(0), y.mean(0)
    inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale > 0)
    x = (x - mean) * inverse
    weights = np.linalg.solve(x.T @ x + l2 * np.eye(x.shape[1]), x.T @ (y - offset))
    weights *= inverse[:, None]
    return Ridge(weights, offset - mean @ weights)
