from __future__ import annotations

import math

import numpy as np
import pytest

from tcae.evaluation.agreement import (
    BLENDSHAPES,
    ENOUGH,
    VARIES,
    Agreement,
    agreement_table,
    compare,
    mean_correlation,
    unit_table,
)

TIMES = [k / 30 for k in range(40)]
WAVE = [0.5 + 0.3 * math.sin(k / 5) for k in range(40)]


def series(**columns: list[float]) -> dict[float, dict[str, float]]:
    return {t: {name: values[k] for name, values in columns.items()} for k, t in enumerate(TIMES)}


def one(outputs, scores) -> Agreement:
    (row,) = compare("clip", outputs, scores)
    return row


def test_the_correlation_is_pearsons_as_numpy_has_it():
    random = np.random.default_rng(0)
    output, score = random.random(40).tolist(), random.random(40).tolist()
    row = one(series(AU26=output), series(jawOpen=score))
    assert row.correlation == pytest.approx(np.corrcoef(output, score)[0, 1])
    assert row.deviation == pytest.approx(np.std(score))
    assert (row.clip, row.unit, row.frames, row.counts) == ("clip", "AU26", 40, True)


def test_left_and_right_are_averaged():
    """Each side alone is noise; their mean is the output."""
    noise = np.random.default_rng(1).random(40)
    left, right = np.array(WAVE) + noise, np.array(WAVE) - noise
    scores = series(mouthSmileLeft=left.tolist(), mouthSmileRight=right.tolist())
    assert one(series(AU12=WAVE), scores).correlation == pytest.approx(1)


def test_a_scale_does_not_matter_but_a_sign_does():
    small = [1e-6 * v for v in WAVE]
    assert one(series(AU26=small), series(jawOpen=WAVE)).correlation == pytest.approx(1)
    against = [1 - v for v in WAVE]
    assert one(series(AU26=against), series(jawOpen=WAVE)).correlation == pytest.approx(-1)


@pytest.mark.parametrize(("factor", "counts"), [(1.01, True), (0.99, False)])
def test_only_what_moves_counts(factor, counts):
    spread = factor * VARIES
    score = [0.5 + (spread if k % 2 else -spread) for k in range(40)]  # its deviation is spread
    row = one(series(AU26=WAVE), series(jawOpen=score))
    assert row.counts is counts
    assert row.deviation == pytest.approx(spread)


def test_an_output_that_never_changes_counts_as_zero():
    row = one(series(AU26=[0.3] * 40), series(jawOpen=WAVE))
    assert row.counts and row.correlation == 0


def test_frames_are_joined_by_time():
    """The landmarker missed every third frame, the detector the first five."""
    scores = {
        t + 2e-4: {"jawOpen": v} for k, (t, v) in enumerate(zip(TIMES, WAVE, strict=True)) if k % 3
    }
    outputs = {t: {"AU26": v} for k, (t, v) in enumerate(zip(TIMES, WAVE, strict=True)) if k >= 5}
    row = one(outputs, scores)
    assert row.frames == sum(1 for k in range(5, 40) if k % 3)
    assert not row.counts  # too few
    long = [k / 30 for k in range(90)]
    scores = {t: {"jawOpen": math.sin(3 * t)} for k, t in enumerate(long) if k % 3}
    outputs = {t: {"AU26": math.sin(3 * t)} for t in reversed(long)}
    row = one(outputs, scores)
    assert (row.frames, row.correlation) == (60, pytest.approx(1))


def test_too_few_frames_do_not_count():
    for count in (ENOUGH - 1, ENOUGH):
        outputs = {t: {"AU26": v} for t, v in list(zip(TIMES, WAVE, strict=True))[:count]}
        row = one(outputs, series(jawOpen=WAVE))
        assert (row.frames, row.counts) == (count, count == ENOUGH)


def test_nothing_in_common():
    row = one({9.0: {"AU26": 0.5}}, series(jawOpen=WAVE))
    assert (row.frames, row.deviation, row.counts) == (0, 0, False)


def test_units_that_the_probe_does_not_have_are_left_out():
    scores = series(**{name: WAVE for names in BLENDSHAPES.values() for name in names})
    rows = compare("clip", series(AU45=WAVE, AU06=WAVE, AU01=WAVE), scores)
    assert [row.unit for row in rows] == ["AU01", "AU45"]
    assert compare("clip", {}, scores) == []


def test_the_mean_is_over_the_units_that_vary():
    rows = [
        Agreement("a", "AU12", 40, 0.3, 0.9),
        Agreement("a", "AU26", 40, 0.01, float("nan")),
        Agreement("b", "AU12", 40, 0.2, -0.1),
    ]
    assert mean_correlation(rows) == (pytest.approx(0.4), 2)
    mean, count = mean_correlation(rows[1:2])
    assert math.isnan(mean) and count == 0
    lines = agreement_table(rows).splitlines()
    assert [line.split()[-1] for line in lines[1:]] == ["0.900", "-", "-0.100", "0.400"]
    assert lines[-1].startswith("mean of 2")
    assert len({len(line) for line in lines}) == 1
    assert agreement_table(rows[1:2]).splitlines()[-1].split() == ["none", "varies", "-"]


def test_a_units_row_is_the_mean_over_its_clips_and_the_last_one_of_all_pairs():
    rows = [
        Agreement("a", "AU12", 40, 0.3, 0.9),
        Agreement("b", "AU12", 40, 0.2, -0.1),
        Agreement("a", "AU01", 40, 0.2, 0.7),
        Agreement("a", "AU26", 40, 0.01, float("nan")),
    ]
    assert unit_table(rows).splitlines()[2:] == [
        "| AU01 | 1 | 0.70 | 0.70 | 0.70 |",
        "| AU12 | 2 | 0.40 | -0.10 | 0.90 |",
        "| all | 3 | 0.50 | -0.10 | 0.90 |",
    ]
    assert len(unit_table(rows[3:]).splitlines()) == 2
