from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tcae.training.config import TrainConfig, plain_config, save_config
from tcae.training.resumed_length import resumed_length, with_more_steps


@pytest.mark.parametrize(
    ("saved", "total", "now", "taken"),
    [
        (10, 10, 20, 20),
        (10, 10, 5, 10),  # not made shorter
        (None, 10, 20, 20),  # ten fitted into --minutes
        (None, 10, 10, None),
        (None, None, 20, None),  # nobody knows how many fit
        (10, 10, None, 10),
    ],
)
def test_only_more_steps_are_taken_over(
    saved: int | None, total: int | None, now: int | None, taken: int | None
) -> None:
    before = plain_config(TrainConfig(steps=saved, minutes=None if saved else 1.0))
    found = with_more_steps(before, TrainConfig(steps=now), total)
    assert found == {**before, "steps": taken}


@pytest.mark.parametrize(
    ("saved", "now", "minutes", "pause"),
    [
        # (steps, minutes) of the run and on the command line; what the run then has.
        ((10, None), (10, None), None, None),
        ((10, None), (10, 3.0), None, 3.0),
        ((10, None), (20, 3.0), None, 3.0),
        ((None, 5.0), (None, 5.0), 5.0, None),
        ((None, 5.0), (None, 9.0), 9.0, None),
        ((None, 5.0), (20, 5.0), None, None),
        ((None, 5.0), (20, 3.0), None, 3.0),
        ((10, 5.0), (10, 5.0), 5.0, None),
    ],
)
def test_minutes_pause_a_run_of_fixed_length_and_are_not_its_own(
    tmp_path: Path,
    saved: tuple[int | None, float | None],
    now: tuple[int | None, float | None],
    minutes: float | None,
    pause: float | None,
) -> None:
    save_config(TrainConfig(steps=saved[0], minutes=saved[1]), tmp_path)
    config = TrainConfig(steps=now[0], minutes=now[1], resume="auto")
    expected = (replace(config, minutes=minutes), pause)
    assert resumed_length(config, tmp_path, {"total_steps": 10}) == expected


def test_the_minutes_of_a_new_run_are_its_budget(tmp_path: Path) -> None:
    for resume in (None, "auto"):
        config = TrainConfig(steps=10, minutes=3.0, resume=resume)
        assert resumed_length(config, tmp_path / "run", None) == (config, None)
