"""How many steps a run takes: as many as --steps says, or as fit into --minutes."""

from __future__ import annotations

from signal import SIGUSR1

from tcae.cli.progress import say
from tcae.distributed import team
from tcae.training.config import TrainConfig
from tcae.training.time_budget import RunTime, steps_that_fit

_TIMED_STEPS = 20  # steps after which --minutes becomes a number of steps
_ENDLESS = 10**9  # more steps than anybody takes


class RunLength:
    """The length of a run. All processes of a team agree on it.

    Args:
        config: The configuration of the run, with `steps` or `minutes` given.
        pause: Minutes from now on after which the run pauses. None if it does not.

    Attributes:
        total_steps: The number of steps. None while it is not known.
        time: How long the run has trained.
    """

    def __init__(self, config: TrainConfig, pause: float | None) -> None:
        # A run that ends before its steps have been timed needs no timing.
        timed = config.minutes and not (config.steps and config.steps <= _TIMED_STEPS)
        self.total_steps = None if timed else config.steps
        self.time = RunTime(config.minutes, pause)
        self._config = config
        self._time_is_up = False  # in any process, as of the last step

    def steps_from(self, step: int) -> range:
        """Return the steps left. There are too many of them while their number is not known."""
        return range(step, self.total_steps or _ENDLESS)

    def is_last(self, step: int) -> bool:
        """Return whether all steps are done or the time is up."""
        return step == self.total_steps or self._time_is_up

    def agree(self, signal: int) -> int:
        """Return the signal that any process got, and note whether the time of any is up.

        A pause counts as SIGUSR1. All processes learn the same, so all stop at the same step.
        """
        signal = signal or (SIGUSR1 if self.time.pauses() else 0)
        number, time_is_up = team.largest(signal, self.time.is_up())
        self._time_is_up = bool(time_is_up)
        return int(number)

    def is_to_be_fixed(self, step: int) -> bool:
        """Return whether the number of steps is not known and enough steps have been timed."""
        return self.total_steps is None and step >= _TIMED_STEPS

    def fix(self, step: int, light: float, full: float, light_steps: int) -> None:
        """Fix the number of steps that fits into --minutes.

        Until then the learning rate does not depend on that number. From then on every checkpoint
        has it, so a resumed run takes the same steps at the same rates.

        Args:
            step: The steps done.
            light: Seconds that each of the next `light_steps` steps takes.
            full: Seconds that each later step takes.
            light_steps: How many steps are light.
        """
        left = steps_that_fit(self.time.seconds_left(), light, full, light_steps)
        steps = min(step + left, self._config.steps or _ENDLESS)
        self.total_steps = int(team.broadcast(str(steps)))
        say(f"{self.total_steps} steps fit into {self._config.minutes:g} minutes")
