from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tcae.evaluation.calibration import Calibration, calibrate, log_odds, sigmoid


def people(frames: int = 4000, seed: int = 0):
    """Logits of two units that are too sure and biased, the truth, and intensities."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(frames, 2)) * 3 + [1.0, 0.0]
    chance = 1 / (1 + np.exp(-(logits * [0.4, 0.7] - [1.5, 2.5])))
    labels = (rng.random(chance.shape) < chance).astype(float)
    return logits, labels, chance


def test_is_logistic_regression_on_the_known_frames_of_each_unit():
    logits, labels, _ = people()
    labels[np.random.default_rng(1).random(labels.shape) < 0.3] = np.nan
    logits[:50, 0] = np.nan
    got = calibrate(logits, labels)
    for a in range(2):
        known = ~np.isnan(labels[:, a]) & ~np.isnan(logits[:, a])
        x = logits[known, a, None]
        x = (x - x.mean()) / x.std()
        truth = LogisticRegression(tol=1e-8).fit(x, labels[known, a])
        found = got.probabilities(logits)[known, a]
        np.testing.assert_allclose(found, truth.predict_proba(x)[:, 1], atol=1e-5)
        assert got.rest[a] == pytest.approx(logits[known, a][labels[known, a] == 0].mean())
        assert got.prior[a] == pytest.approx(labels[known, a].mean(), abs=1e-3)


def test_finds_the_chances_of_other_people():
    logits, labels, _ = people()
    others, _, chance = people(seed=9)
    found = calibrate(logits, labels).probabilities(others)
    assert np.abs(found - chance).mean() < 0.01 < 0.2 < np.abs(sigmoid(others) - chance).mean()


def test_as_many_frames_are_called_present_as_there_are():
    logits, labels, _ = people()
    got = calibrate(logits, labels)
    np.testing.assert_array_equal(got.decisions(logits).sum(0), labels.sum(0))
    others, wanted, _ = people(seed=9)
    np.testing.assert_allclose(got.decisions(others).mean(0), wanted.mean(0), atol=0.02)


def test_intensities_are_found_and_have_the_mean_of_the_truth():
    logits, labels, _ = people()
    truth = 1 / (1 + np.exp(-(0.6 * logits - 1)))
    got = calibrate(logits, labels, truth).intensities(logits)
    np.testing.assert_allclose(got, 5 * truth, atol=0.02)
    noisy = np.clip(truth + np.random.default_rng(2).normal(size=truth.shape) / 3, 0, 1)
    got = calibrate(logits, labels, noisy).intensities(logits)
    np.testing.assert_allclose(got.mean(0), 5 * noisy.mean(0), rtol=1e-4)


def test_an_output_that_knows_nothing_gives_the_share_of_the_frames():
    logits, labels, _ = people(400)
    got = calibrate(-logits, labels)  # it would have to be turned round
    expected = np.broadcast_to(labels.mean(0), labels.shape)
    np.testing.assert_allclose(got.probabilities(logits), expected, atol=2e-3)


def test_units_without_one_of_the_classes_stay_finite():
    logits, labels, _ = people(400)
    labels[:, 0] = 0
    labels[:, 1] = np.nan
    got = calibrate(logits, labels)
    assert np.isfinite(got.probabilities(logits)).all()
    assert got.probabilities(logits)[:, 0].max() < 0.05
    assert not got.decisions(logits).any()


def test_classes_that_do_not_overlap_stay_finite():
    logits = np.linspace(-5, 5, 20)[:, None]
    got = calibrate(logits, (logits > 0).astype(float))
    assert np.isfinite(got.presence).all() and got.presence[0] > 0
    np.testing.assert_array_equal(got.decisions(logits), logits > 0)


def test_arrays_make_it_again():
    logits, labels, chance = people(400)
    for intensities in (None, chance):
        one = calibrate(logits, labels, intensities)
        again = Calibration.from_arrays(one.arrays())
        np.testing.assert_array_equal(again.probabilities(logits), one.probabilities(logits))
        np.testing.assert_array_equal(again.decisions(logits), one.decisions(logits))
        assert (again.intensity is None) == (intensities is None)


def test_no_intensities_are_made_up():
    logits, labels, _ = people(400)
    with pytest.raises(ValueError, match="calibration: it was fitted without intensities"):
        calibrate(logits, labels).intensities(logits)


def test_wrong_shapes_are_named():
    logits, labels, _ = people(400)
    with pytest.raises(ValueError, match=r"labels: shape \(400, 1\) came, \(400, 2\) is needed"):
        calibrate(logits, labels[:, :1])
    with pytest.raises(ValueError, match="intensities: shape"):
        calibrate(logits, labels, labels[1:])


def test_sigmoid_and_its_inverse():
    values = np.array([-1000.0, -3, 0, 3, 1000])
    assert sigmoid(values).tolist() == [0, pytest.approx(1 / (1 + np.e**3)), 0.5,
                                        pytest.approx(1 / (1 + np.e**-3)), 1]  # fmt: skip
    np.testing.assert_allclose(log_odds(sigmoid(values[1:4])), values[1:4])
    assert np.isfinite(log_odds(np.array([0.0, 1.0]))).all()
