"""The time budget of a run, ``--minutes``: how much is left, and how many steps fit into it."""

from __future__ import annotations

import itertools
import math
import time

from tcae.objectives.twin_cycle import TwinCycleObjective

_RESERVE = 0.03  # share of the budget kept for writing files and for slower spells


class RunTime:
    """How long a run has trained, and how much of its budget is left.

    Args:
        budget: The time budget in minutes. None if there is no limit.
        pause: Minutes from now on after which the run pauses. None if it does not.

    Attributes:
        earlier: Minutes that the run took before it was resumed.
    """

    def __init__(self, budget: float | None, pause: float | None = None) -> None:
        self.earlier = 0.0
        self._budget = math.inf if budget is None else budget
        self._pause = math.inf if pause is None else pause
        self._start = time.monotonic()

    def minutes(self) -> float:
        """Return the minutes that the run has taken, those before it was resumed included."""
        return self.earlier + self._minutes_now()

    def pauses(self) -> bool:
        """Return whether the run is to write a checkpoint and end, but is not done."""
        return self._minutes_now() >= self._pause

    def is_up(self) -> bool:
        """Return whether the budget is used up."""
        return self.minutes() >= self._budget

    def seconds_left(self) -> float:
        """Return the seconds that are left for training, without a reserve for everything else."""
        return 60 * (self._budget * (1 - _RESERVE) - self.minutes())

    def _minutes_now(self) -> float:
        return (time.monotonic() - self._start) / 60


def steps_that_fit(seconds: float, light: float, full: float, light_steps: int) -> int:
    """Return how many steps fit into a time when the first ones are lighter than the others.

    Args:
        seconds: The time.
        light: Seconds that each of the first `light_steps` steps takes.
        full: Seconds that each later step takes.
        light_steps: How many steps are light. 0 or less means none.

    Example:
        >>> steps_that_fit(10.0, light=0.5, full=1.0, light_steps=4)
        12
    """
    light_steps = max(light_steps, 0)
    rest = seconds - light_steps * light
    return light_steps + int(rest / full) if rest > 0 else max(int(seconds / light), 0)


def first_full_step(objective: TwinCycleObjective) -> int:
    """Return the first step with all loss terms. Before it, ramps leave some out."""
    names = [name for name, weight in objective.weights().items() if weight]
    return next(
        step for step in itertools.count() if all(objective.weights(step)[name] for name in names)
    )
