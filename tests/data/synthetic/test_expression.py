from __future__ import annotations

import math

import numpy as np
import pytest

from tcae.data.synthetic.expression import (
    ACTION_UNITS,
    BLINK,
    RATES,
    ExpressionConfig,
    correlation,
    habits,
    perform,
)


def performances(config, people=400, seconds=8.0, fps=5):
    """(people, T, 21, 2)."""
    times = np.arange(int(seconds * fps)) / fps
    draws = (np.random.default_rng([7, i]) for i in range(people))
    return np.stack([perform(random, times, habits(random), config) for random in draws])


@pytest.fixture(scope="module")
def usual():
    return performances(ExpressionConfig(), people=1500)


def quantile(p):
    """Of the standard normal, by bisection."""
    low, high = -9.0, 9.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if math.erf(middle / 2**0.5) < 2 * p - 1 else (low, middle)
    return low


def both_active(rate_a, rate_b, rho):
    """Probability that two correlated normal numbers are above their thresholds: an integral."""
    a, b = quantile(1 - rate_a), quantile(1 - rate_b)
    x = np.linspace(a, 8, 4001)
    given = [0.5 * math.erfc((b - rho * v) / math.sqrt(2 * (1 - rho**2))) for v in x]
    return float(np.trapezoid(np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi) * given, x))


def test_base_rates(usual):
    for number, name in enumerate(ACTION_UNITS[:BLINK]):
        for side in range(2):
            assert (usual[..., number, side] > 0).mean() == pytest.approx(RATES[name], abs=0.02)


def test_rates_are_options():
    rates = RATES | {"AU12": 0.7, "AU01": 0.0}
    acted = performances(ExpressionConfig(rates=rates))
    assert (acted[..., ACTION_UNITS.index("AU12"), :] > 0).mean() == pytest.approx(0.7, abs=0.04)
    assert acted[..., ACTION_UNITS.index("AU01"), :].max() == 0


def test_intensities_of_active_units(usual):
    active = usual[..., :BLINK, :][usual[..., :BLINK, :] > 0]
    assert active.max() <= 1
    assert active.mean() == pytest.approx(0.75, abs=0.02)
    faint = performances(ExpressionConfig(mean_intensity=0.2))[..., :BLINK, :]
    assert faint[faint > 0].mean() == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize(
    ("a", "b", "sign"),
    [("AU01", "AU02", 1), ("AU06", "AU12", 1), ("AU04", "AU07", 1), ("AU25", "AU26", 1),
     ("AU15", "AU17", 1), ("AU12", "AU15", -1), ("AU24", "AU25", -1)],
)  # fmt: skip
def test_co_occurrence(usual, a, b, sign):
    """Pairs are active together as often as the Gaussian copula of their rates says."""
    i, j = ACTION_UNITS.index(a), ACTION_UNITS.index(b)
    rho = correlation()[i, j]
    assert np.sign(rho) == sign and abs(rho) > 0.3
    # A side's own part, which both units of a pair on midline muscles do not have, dilutes it.
    midline = {"AU17", "AU24", "AU25", "AU26"}
    rho *= 0.9 ** (0.5 * ((a not in midline) + (b not in midline)))
    together = ((usual[..., i, 0] > 0) & (usual[..., j, 0] > 0)).mean()
    expected = both_active(RATES[a], RATES[b], rho)
    assert together == pytest.approx(expected, abs=0.02)
    by_chance = RATES[a] * RATES[b]
    assert sign * (together - by_chance) > 0.25 * sign * (expected - by_chance)


def test_the_correlations_can_be():
    matrix = correlation()
    assert np.allclose(np.diag(matrix), 1)
    assert np.allclose(matrix, matrix.T)
    assert np.linalg.eigvalsh(matrix).min() > 0


def test_expressions_rise_and_fall_smoothly():
    """At 100 frames a second without speech nothing jumps, and what is active comes and goes."""
    # Half is the mean of a uniform number: intensities are that number itself, not a power of it.
    config = ExpressionConfig(talking=0.0, mean_intensity=0.5)
    acted = performances(config, people=20, seconds=20, fps=100)[..., :BLINK, :]
    steps = np.abs(np.diff(acted, axis=1))
    assert steps.max() < 0.15
    assert np.quantile(steps, 0.99) < 0.04
    runs = np.diff((acted > 0).astype(int), axis=1)
    onsets = (runs == 1).sum() / (20 * 20 * acted.shape[2] * 2)  # a second, for each unit
    mean_seconds = (acted > 0).mean() / onsets
    assert 0.5 < mean_seconds < 3
    # Stronger faces are the same ones, bent: onsets are steeper, nothing else is.
    strong = ExpressionConfig(talking=0.0)
    bent = performances(strong, people=20, seconds=20, fps=100)[..., :BLINK, :]
    np.testing.assert_allclose(bent, acted ** (1 / 0.75 - 1), atol=1e-9)


def test_speech_moves_the_mouth_fast():
    lips = ACTION_UNITS.index("AU25")
    brow = ACTION_UNITS.index("AU01")

    def onsets(talking):
        acted = performances(ExpressionConfig(talking=talking), people=30, seconds=20, fps=50)
        rises = np.diff((acted > 0.1).astype(int), axis=1) == 1
        return rises[..., lips, 0].sum() / 600, rises[..., brow, 0].sum() / 600

    silent, speaking = onsets(0.0), onsets(1.0)
    assert 1 < speaking[0] < 6  # openings of the mouth a second
    assert speaking[0] > 4 * silent[0]
    assert speaking[1] == pytest.approx(silent[1], rel=0.3)


def test_blinks():
    acted = performances(ExpressionConfig(), people=60, seconds=60, fps=50)[..., BLINK, :].mean(-1)
    shut = acted > 0.4
    count = (np.diff(shut.astype(int), axis=1) == 1).sum(1)
    assert count.mean() == pytest.approx(26, rel=0.1)
    duration = shut.sum() / 50 / count.sum()  # above 0.4: about half of a blink's 0.3 s
    assert 0.1 < duration < 0.25
    assert performances(ExpressionConfig(blinks=0), people=3)[..., BLINK, :].max() == 0


def test_sides_differ_as_much_as_asked():
    smile = ACTION_UNITS.index("AU12")

    def difference(asymmetry):
        acted = performances(ExpressionConfig(asymmetry=asymmetry))
        return np.abs(np.diff(acted, axis=-1)).mean((0, 1, 3))

    none, some = difference(0.0), difference(0.3)
    assert none[:BLINK].max() == 0
    assert some[smile] > 0.03
    assert some[ACTION_UNITS.index("AU26")] == 0  # the jaw has no sides


def test_people_have_habits():
    def spread(habit):
        acted = performances(ExpressionConfig(habit=habit), people=200, seconds=60)
        return (acted[..., :BLINK, 0] > 0).mean(1).std(0).mean()

    assert spread(0.5) > 2 * spread(0.0)


def test_more_frames_do_not_change_the_first():
    def acted(frames):
        times = np.arange(frames) / 5
        return perform(np.random.default_rng(3), times, np.zeros(BLINK), ExpressionConfig())

    assert np.array_equal(acted(60)[:20], acted(20))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rates": {"AU99": 0.5}}, "unknown: AU99"),
        ({"rates": {"AU01": 0.5}}, "missing: AU02"),
        ({"rates": RATES | {"AU04": 1.5}}, "AU04 must be from 0 to 1, not 1.5"),
        ({"mean_intensity": 0.0}, "mean_intensity"),
        ({"talking": float("nan")}, "talking"),
        ({"blinks": -1.0}, "blinks"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ExpressionConfig(**options)
