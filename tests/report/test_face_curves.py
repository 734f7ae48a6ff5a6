from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcae.report.face_curves import Event, find_events, thin

FPS = 25


def events(on: str) -> list[Event]:
    """Events of frames at 25 a second: "-" is off, a digit is on with that value, "x" no face."""
    frames = [k for k, sign in enumerate(on) if sign != "x"]
    values = np.array([0.0 if on[k] == "-" else float(on[k]) for k in frames])
    return find_events(np.array(frames) / FPS, values, values > 0)


def test_an_event_has_onset_peak_and_offset() -> None:
    [event] = events("--12531--")
    assert event == Event(2 / FPS, 4 / FPS, 6 / FPS, 5.0)


def test_short_events_are_left_out_and_short_breaks_are_bridged() -> None:
    assert events("--11----") == []  # 0.08 s
    assert len(events("--111---")) == 1  # 0.12 s
    assert [(e.onset, e.offset) for e in events("1111--1111")] == [(0, 9 / FPS)]
    assert len(events("1111---1111")) == 2


def test_a_break_without_the_face_is_one_too() -> None:
    assert len(events("1111xx1111")) == 1
    assert len(events("1111xxxx1111")) == 2


def test_nothing_gives_no_event() -> None:
    assert find_events(np.zeros(0), np.zeros(0), np.zeros(0, bool)) == []
    nan = np.full(9, np.nan)
    assert find_events(np.arange(9.0), nan, np.ones(9, bool)) == []
    assert len(find_events(np.zeros(1), np.ones(1), np.ones(1, bool))) == 0


values = st.lists(st.floats(-9, 9) | st.just(math.nan), min_size=1, max_size=60)


@given(values, st.integers(2, 40))
def test_thinned_curves_keep_the_extremes_of_their_frames(curve: list[float], most: int) -> None:
    times = np.arange(len(curve)) / FPS
    thinned = thin(times, np.array([curve]), most)
    assert np.all(np.diff(thinned.times) >= 0)
    if len(curve) <= most:
        assert thinned.frames == 1
        np.testing.assert_array_equal(thinned.curves[0], curve)
        return
    step = thinned.frames
    assert len(thinned.times) <= most + 1 and thinned.curves.shape == (1, len(thinned.times))
    for k, start in enumerate(range(0, len(curve), step)):
        frames = curve[start : start + step]
        known = [value for value in frames if not math.isnan(value)]
        got = thinned.curves[0, 2 * k : 2 * k + 2]
        assert times[start] <= thinned.times[2 * k] <= times[start + len(frames) - 1]
        if not known:
            assert np.isnan(got).all()
            continue
        assert sorted(got) == [min(known), max(known)]
        if min(known) < max(known):
            first = frames.index(min(known)) < frames.index(max(known))
            assert (got[0] < got[1]) == first


@pytest.mark.parametrize("count", [7, 8, 9, 1000])
def test_there_are_never_more_points_than_asked_for(count: int) -> None:
    assert len(thin(np.arange(count), np.zeros((2, count)), 8).times) <= 8
