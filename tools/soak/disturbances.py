"""What happens to a run, and when: a seeded choice."""

from __future__ import annotations

import os
import random
import signal
from dataclasses import dataclass

from processes import LAUNCHER, RANK, WORKER, Process

POWER = "all"


@dataclass(frozen=True)
class Disturbance:
    """A signal to a process of a kind, or to all of them at once.

    Attributes:
        signal: The signal.
        kind: Kind of the process, or "all".
    """

    signal: signal.Signals
    kind: str

    def __str__(self) -> str:
        who = {LAUNCHER: "the launcher", POWER: "all processes"}.get(self.kind, f"a {self.kind}")
        return f"{self.signal.name} to {who}"


KINDS = (
    Disturbance(signal.SIGKILL, RANK),
    Disturbance(signal.SIGKILL, LAUNCHER),
    Disturbance(signal.SIGKILL, WORKER),
    Disturbance(signal.SIGKILL, POWER),  # as when the power fails
    Disturbance(signal.SIGTERM, LAUNCHER),
    Disturbance(signal.SIGTERM, RANK),
    Disturbance(signal.SIGUSR1, LAUNCHER),
)


class Fate:
    """Draws what happens next, and when.

    Args:
        seed: Seed of the choice.
        pause: Mean seconds of processor time between two disturbances. They come at any moment,
            also while a run starts, stops or measures, but on a busy machine not more often.
    """

    def __init__(self, seed: int, pause: float) -> None:
        self._random, self._pause = random.Random(seed), pause

    def wait(self) -> float:
        """Return the processor time of the run until the next disturbance, in seconds."""
        return self._random.uniform(0, 2 * self._pause)

    def strike(self, found: list[Process]) -> Disturbance | None:
        """Draw a disturbance and let it happen. None if there is no process of its kind."""
        chosen = self._random.choice(KINDS)
        hit = [it for it in found if chosen.kind in (POWER, it.kind)]
        if chosen.kind != POWER and hit:
            hit = [self._random.choice(hit)]
        for process in hit:
            try:
                os.kill(process.pid, chosen.signal)
            except ProcessLookupError:  # it has ended by itself
                continue
        return chosen if hit else None
