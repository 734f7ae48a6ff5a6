from __future__ import annotations

import numpy as np
import pytest

from tcae.evaluation.smoothing import smooth

RATE = 30


def event(times, centre: float, width: float):
    """A symmetric rise and fall, as of a unit that comes and goes."""
    return 4 * np.exp(-(((times - centre) / width) ** 2) / 2) - 2


def crossing(times, values, level: float, rising: bool) -> float:
    """The time at which a curve crosses a level, between frames too."""
    sign = 1 if rising else -1
    above = sign * (values - level) > 0
    (k,) = np.flatnonzero(~above[:-1] & above[1:])[:1]
    share = (level - values[k]) / (values[k + 1] - values[k])
    return float(times[k] + share * (times[k + 1] - times[k]))


@pytest.mark.parametrize("seconds", [0.2, 0.4])
@pytest.mark.parametrize("jitter", [0.0, 0.2])
@pytest.mark.parametrize("width", [0.15, 0.3, 1.0])
def test_peak_and_half_height_do_not_move(seconds, jitter, width):
    rng = np.random.default_rng(0)
    times = (np.arange(300) + jitter * rng.uniform(-1, 1, 300)) / RATE
    exact = event(times, 5.0, width)
    found = smooth(exact[:, None], times, seconds)[:, 0]
    frame = 1 / RATE
    assert abs(times[found.argmax()] - times[exact.argmax()]) < 1e-9
    for rising in (True, False):
        moved = crossing(times, found, 0, rising) - crossing(times, exact, 0, rising)
        assert abs(moved) < frame / 2
    assert found.max() > 0.9 * exact.max()


def test_noise_becomes_less():
    rng = np.random.default_rng(0)
    times = np.arange(600) / RATE
    exact, noise = event(times, 10.0, 1.0), rng.normal(size=600)
    error = smooth((exact + noise)[:, None], times, 0.8)[:, 0] - exact
    assert error.std() < 0.5 * noise.std()


def test_the_same_backwards():
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.uniform(0.8, 1.2, 100)) / RATE
    values = rng.normal(size=(100, 2))
    back = smooth(values[::-1], -times[::-1], 0.3)[::-1]
    np.testing.assert_allclose(smooth(values, times, 0.3), back, atol=1e-9)


def test_parabolas_stay_as_they_are_up_to_both_ends():
    times = np.arange(50) / RATE
    values = np.stack([3 - times, times**2 - times], 1)
    np.testing.assert_allclose(smooth(values, times, 0.4), values, atol=1e-9)


def test_nothing_crosses_a_gap():
    times = np.arange(60) / RATE
    times[30:] += 0.05  # the face was lost for a moment
    values = np.where(np.arange(60) < 30, 0.0, 5.0)[:, None]
    np.testing.assert_allclose(smooth(values, times, 0.5), values, atol=1e-9)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_frames(count):
    values, times = np.arange(2.0 * count).reshape(count, 2), np.arange(count) / RATE
    np.testing.assert_allclose(smooth(values, times, 1.0), values, atol=1e-9)
    np.testing.assert_array_equal(smooth(values, times, 0.0), values)


@pytest.mark.parametrize("seconds", [-0.1, float("inf"), float("nan")])
def test_wrong_widths(seconds):
    with pytest.raises(ValueError, match=r"smooth: \S+ came, a number of seconds from 0 on"):
        smooth(np.zeros((3, 1)), np.arange(3.0), seconds)
