from __future__ import annotations

import numpy as np
import pytest

from tcae.evaluation.calibration import Calibration
from tcae.evaluation.neutral import FEWEST, Neutral, levelled

A = 3
CALIBRATION = Calibration(
    np.stack([np.full(A, 1.5), np.full(A, -1.0)]),
    threshold=np.full(A, 0.5),
    prior=np.full(A, 0.2),
    rest=np.array([-2.0, -1.0, -3.0]),
)


def person(own: np.ndarray, frames: int = 200, seed: int = 0):
    """Logits of a face that is at rest for most of the time; `own` is how it differs there."""
    rng = np.random.default_rng(seed)
    action = np.where(rng.random((frames, A)) < 0.2, rng.uniform(2, 5, (frames, A)), 0)
    return CALIBRATION.rest + own + action + rng.normal(size=(frames, A)) / 10


@pytest.mark.parametrize("seed", range(3))
def test_levels_of_two_people_come_together(seed):
    own = np.array([1.5, -1.0, 0.8])
    logits, times = person(own, seed=seed), np.arange(200) / 25
    found = Neutral().of(logits, times, CALIBRATION)
    np.testing.assert_allclose(found, CALIBRATION.rest + own, atol=0.2)
    moved = levelled(logits, found, CALIBRATION)
    same = person(np.zeros(A), seed=seed)
    assert np.abs(moved - same).mean() < 0.4 * np.abs(logits - same).mean()
    # Time courses stay as they are.
    np.testing.assert_allclose(np.ptp(moved - logits, axis=0), 0, atol=1e-12)


def test_the_calmest_tenth_is_the_mean_of_the_frames_with_the_least_probable_action():
    logits = person(np.zeros(A), frames=40)
    action = sum(1 / (1 + np.exp(-(1.5 * logits[:, a] - 1))) for a in range(A))
    expected = logits[np.argsort(action)[:4]].mean(0)
    np.testing.assert_allclose(Neutral().of(logits, np.full(40, np.nan), CALIBRATION), expected)


def test_too_few_frames_tell_nothing():
    logits = person(np.ones(A), frames=FEWEST)
    times = np.arange(FEWEST) / 25
    assert Neutral().of(logits, times, CALIBRATION) is not None
    assert Neutral().of(logits[1:], times[1:], CALIBRATION) is None


def test_frames_between_two_times():
    logits, times = person(np.zeros(A)), np.arange(200) / 25
    found = Neutral((1.0, 2.0)).of(logits, times, CALIBRATION)
    np.testing.assert_allclose(found, logits[25:51].mean(0))
    assert Neutral((100.0, 101.0)).of(logits, times, CALIBRATION) is None
    assert Neutral((1.0, 2.0)).of(logits, np.full(200, np.nan), CALIBRATION) is None


def test_a_given_face_counts():
    given = np.arange(3.0)
    found = Neutral(logits=given).of(person(np.zeros(A)), np.arange(200.0), CALIBRATION)
    assert found is given


def test_the_usual_face_stays_as_it_is():
    logits = person(np.zeros(A))
    np.testing.assert_array_equal(levelled(logits, CALIBRATION.rest, CALIBRATION), logits)
