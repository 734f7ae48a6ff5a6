from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from tcae.evaluation.reliability import brier, calibration_error, icc


def test_calibration_error_by_hand():
    # Ten parts of two frames; in each the mean probability is .05, .15 ... and the share 0 or 1.
    probability = np.repeat(np.arange(10) / 10 + 0.05, 2)
    truth = (probability > 0.5).astype(float)
    assert calibration_error(truth, probability) == pytest.approx(0.25)
    shuffled = np.random.default_rng(0).permutation(20)
    assert calibration_error(truth[shuffled], probability[shuffled]) == pytest.approx(0.25)


def test_true_chances_have_none():
    rng = np.random.default_rng(0)
    chance = rng.random(100_000)
    truth = (rng.random(100_000) < chance).astype(float)
    assert calibration_error(truth, chance) < 0.01 < 0.1 < calibration_error(truth, chance**2)


def test_brier():
    rng = np.random.default_rng(0)
    truth, probability = (rng.random(50) < 0.3).astype(float), rng.random(50)
    assert brier(truth, probability) == pytest.approx(brier_score_loss(truth, probability))


def test_icc_by_analysis_of_variance():
    """Shrout and Fleiss: targets by judges, (BMS - EMS) / (BMS + EMS)."""
    rng = np.random.default_rng(0)
    a = rng.random(40) * 5
    b = a + rng.normal(size=40)
    table = np.stack([a, b], 1)
    rows, columns, mean = table.mean(1), table.mean(0), table.mean()
    bms = 2 * np.square(rows - mean).sum() / 39
    rest = table - rows[:, None] - columns[None] + mean
    ems = np.square(rest).sum() / 39
    assert icc(a, b) == pytest.approx((bms - ems) / (bms + ems))
    assert icc(a, a + 1) == pytest.approx(1)
    assert icc(np.zeros(3), np.zeros(3)) == 0
