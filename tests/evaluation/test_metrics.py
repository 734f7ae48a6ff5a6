from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, roc_auc_score

from tcae.evaluation.metrics import bootstrap, score


def random_case(seed: int, frames: int = 200, units: int = 3, ties: bool = True):
    rng = np.random.default_rng(seed)
    truth = (rng.random((frames, units)) < 0.3).astype(float)
    truth[rng.random(truth.shape) < 0.1] = np.nan
    probability = np.clip(rng.normal(0.4, 0.2, truth.shape) + 0.2 * np.nan_to_num(truth), 0, 1)
    if ties:
        probability = probability.round(1)
    return truth, probability, rng.random(frames) * 3


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000), st.integers(1, 60), st.booleans(), st.booleans(), st.floats(0.05, 0.95)
)
def test_agrees_with_scikit_learn(seed, frames, ties, weighted, threshold):
    truth, probability, weight = random_case(seed, frames, 2, ties)
    weight = weight if weighted else np.ones(frames)
    scores = score(truth, probability, weight=weight, threshold=threshold)
    for a in range(2):
        known = ~np.isnan(truth[:, a])
        t, p, w = truth[known, a], probability[known, a], weight[known]
        np.testing.assert_allclose(scores.frames[a], w.sum(), rtol=1e-12)
        if known.any():
            np.testing.assert_allclose(scores.prevalence[a], (w * t).sum() / w.sum(), rtol=1e-12)
        if len(set(t)) < 2:
            assert np.isnan(scores.f1[a]) and np.isnan(scores.auc[a])
            continue
        f1 = f1_score(t, p >= threshold, sample_weight=w, zero_division=0)
        auc = roc_auc_score(t, p, sample_weight=w)
        np.testing.assert_allclose([scores.f1[a], scores.auc[a]], [f1, auc], atol=1e-9)


def test_by_hand():
    # tp 2, fp 1, fn 1: F1 = 4 / (4 + 1 + 1). Of 3 x 2 pairs the positives win 2 + 2 + 1/2.
    truth = [[1.0], [1.0], [1.0], [0.0], [0.0], [np.nan]]
    probability = [[0.9], [0.8], [0.3], [0.6], [0.3], [0.99]]
    scores = score(truth, probability)
    assert scores.frames[0] == 5 and scores.prevalence[0] == 0.6
    assert scores.f1[0] == pytest.approx(4 / 6) and scores.auc[0] == pytest.approx(4.5 / 6)


def test_threshold_belongs_to_the_positives():
    assert score([[1.0], [0.0]], [[0.5], [0.49]]).f1[0] == 1.0


def test_unknown_predictions_are_masked_like_unknown_labels():
    truth, probability, _ = random_case(1)
    keep = np.arange(len(truth)) % 3 > 0
    hidden = np.where(keep[:, None], probability, np.nan)
    expected, got = score(truth[keep], probability[keep]), score(truth, hidden)
    for name in ("frames", "prevalence", "f1", "auc"):
        np.testing.assert_array_equal(getattr(got, name), getattr(expected, name))


def test_unit_with_one_class_has_no_score_and_does_not_touch_the_mean():
    truth, probability, _ = random_case(2)
    both = np.column_stack([truth, np.zeros(len(truth)), np.full(len(truth), np.nan)])
    predictions = np.column_stack([probability, probability[:, :2]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = score(both, predictions)
        nothing = score(both[:, 3:], predictions[:, 3:])
    assert np.isnan(scores.f1[3:]).all() and np.isnan(scores.auc[3:]).all()
    assert scores.f1_mean == pytest.approx(scores.f1[:3].mean())
    assert scores.auc_mean == pytest.approx(scores.auc[:3].mean())
    assert scores.prevalence[3] == 0 and np.isnan(scores.prevalence[4])
    assert np.isnan(nothing.f1_mean)


def test_bootstrap_equals_the_loop_that_repeats_frames():
    """The truth is stated with repeated rows; the code under test only moves weights."""
    truth, probability, _ = random_case(3, frames=120)
    truth[:, 2] = np.where(np.arange(120) % 7 == 0, truth[:, 2], 0.0)  # one class at times
    subjects = np.array([f"S{i % 7}" for i in range(120)])
    names = np.unique(subjects)
    draws = np.random.default_rng(5).multinomial(7, np.full(7, 1 / 7), size=50)
    f1, auc = [], []
    for draw in draws:
        rows = np.concatenate(
            [np.repeat(np.flatnonzero(subjects == n), k) for n, k in zip(names, draw, strict=True)]
        )
        f1.append([])
        auc.append([])
        for a in range(3):
            t, p = truth[rows, a], probability[rows, a]
            t, p = t[~np.isnan(t)], p[~np.isnan(t)]
            one = len(set(t)) < 2
            f1[-1].append(np.nan if one else f1_score(t, p >= 0.5, zero_division=0))
            auc[-1].append(np.nan if one else roc_auc_score(t, p))
    assert np.isnan(f1).any() and not np.isnan(f1).all(0).any()
    got = bootstrap(truth, probability, subjects, resamples=50, seed=5, level=0.9)
    for interval, values in zip(got, (np.array(f1), np.array(auc)), strict=True):
        low, high = np.nanpercentile(values, [5, 95], axis=0)
        np.testing.assert_allclose(interval.low, low, atol=1e-9)
        np.testing.assert_allclose(interval.high, high, atol=1e-9)
        mean = np.nanpercentile(np.nanmean(values, axis=1), [5, 95])
        np.testing.assert_allclose([interval.mean_low, interval.mean_high], mean, atol=1e-9)


def test_bootstrap_does_not_depend_on_the_order_of_frames():
    truth, probability, _ = random_case(4)
    subjects = np.arange(200) % 9
    order = np.random.default_rng(0).permutation(200)
    first = bootstrap(truth, probability, subjects, resamples=20)
    second = bootstrap(truth[order], probability[order], subjects[order], resamples=20)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.low, b.low)
        np.testing.assert_array_equal(a.high, b.high)


def test_interval_is_wide_when_one_person_decides():
    """All frames of a person agree, so intervals over frames would be far too narrow."""
    subjects = np.repeat(np.arange(6), 500)
    truth = np.tile([0.0, 1.0], 1500)[:, None]
    right = (subjects < 4)[:, None]
    probability = np.where(right, truth, 1 - truth)
    f1, _ = bootstrap(truth, probability, subjects, resamples=300)
    assert f1.high[0] - f1.low[0] > 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"truth": [[2.0], [0.0]]}, "truth: holds values other than 0, 1 and NaN"),
        ({"truth": [[1.0], [0.0], [1.0]]}, r"shapes \(3, 1\) and \(2, 1\) came"),
        ({"truth": np.zeros((2, 0)), "probability": np.zeros((2, 0))}, "a unit at least"),
        ({"weight": [1.0]}, r"weight: shape \(1,\) came, \(2,\) is needed"),
        ({"weight": [1.0, -1.0]}, "weight: holds negative values"),
    ],
)
def test_wrong_arguments_of_score(change, message):
    case = {"truth": [[1.0], [0.0]], "probability": [[0.5], [0.5]], **change}
    with pytest.raises(ValueError, match=message):
        score(**case)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resamples": 0}, "resamples: 0"),
        ({"level": 1.0}, "level: 1.0"),
        ({"subjects": ["a"]}, r"subjects: shape \(1,\)"),
    ],
)
def test_wrong_arguments_of_bootstrap(change, message):
    case = {"truth": [[1.0], [0.0]], "probability": [[0.5], [0.5]], "subjects": [0, 1], **change}
    with pytest.raises(ValueError, match=message):
        bootstrap(**case)
