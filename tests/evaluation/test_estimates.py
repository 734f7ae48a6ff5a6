from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tcae.evaluation.estimates import gain, r_squared, ratio
from tcae.evaluation.folds import subject_folds
from tcae.evaluation.metrics import draw_people
from tcae.evaluation.ridge import predict_out_of_fold

PEOPLE = np.repeat([f"p{i}" for i in range(12)], 20)


def random_pose(seed: int = 0):
    random = np.random.default_rng(seed)
    truth = random.normal([50, -3, 1], [10, 5, 2], (len(PEOPLE), 3))
    return truth, truth + random.normal(0, [5, 4, 3], truth.shape)


def test_a_ratio_is_of_sums_and_a_gain_what_is_missing_to_one():
    people = ["a", "b", "b"]
    assert ratio([1, 2, 3], [2, 4, 6], people).value == 0.5
    assert ratio([1, 0, 0], [1, 4, 5], people).value == pytest.approx(0.1)
    assert gain([1, 0, 0], [1, 4, 5], people).value == pytest.approx(0.9)


def test_intervals_resample_people_not_rows():
    # Two people: a resample is one of them twice, or both; 1/4, 1/2, 1/4 of the time.
    values = [1.0] * 50 + [3.0] * 50
    people = ["a"] * 50 + ["b"] * 50
    estimate = ratio(values, [1.0] * 100, people)
    assert estimate == (2, 1, 3)
    assert gain(values, [4.0] * 100, people) == (0.5, 0.25, 0.75)


def test_r_squared_agrees_with_scikit_learn_in_every_resample():
    truth, predicted = random_pose()
    estimate = r_squared(truth, predicted, PEOPLE)
    assert estimate.value == pytest.approx(r2_score(truth, predicted))
    subject, draws = draw_people(PEOPLE)
    resampled = [r2_score(truth, predicted, sample_weight=drawn[subject]) for drawn in draws]
    np.testing.assert_allclose(estimate[1:], np.percentile(resampled, [2.5, 97.5]))


def test_wrong_shapes_are_refused():
    truth, predicted = random_pose()
    with pytest.raises(ValueError, match="numerator: shape"):
        ratio([1.0, 2.0], [1.0, 2.0], ["a"])
    with pytest.raises(ValueError, match="one at least"):
        ratio([], [], [])
    with pytest.raises(ValueError, match="predicted: shape"):
        r_squared(truth, predicted[:, :2], PEOPLE)


@pytest.mark.parametrize("l2", [1.0, 30.0])
def test_ridge_agrees_with_scikit_learn(l2: float):
    truth, _ = random_pose(2)
    random = np.random.default_rng(3)
    features = truth @ random.normal(0, 1, (3, 8)) + random.normal(4, 9, (len(truth), 8))
    features[:, 5] = 7.0  # says nothing
    predicted = predict_out_of_fold(features, truth, PEOPLE.tolist(), folds=4, l2=l2, seed=5)
    dealt = subject_folds(PEOPLE.tolist(), 4, 5)
    fold = np.array([dealt[name] for name in PEOPLE])
    for k in range(4):
        model = make_pipeline(StandardScaler(), Ridge(alpha=l2))
        model.fit(features[fold != k], truth[fold != k])
        np.testing.assert_allclose(predicted[fold == k], model.predict(features[fold == k]))
