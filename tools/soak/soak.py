"""The soak itself: one run that nothing disturbs, beside it one that is killed time and again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from disturbances import Disturbance, Fate
from memory import Sample
from processes import WORKER
from soaked_run import SoakedRun

PATIENCE = 60.0
"""Seconds in which all processes of a run have to end when its launcher has."""

_TICK = 1.0
_SAMPLE = 5.0  # seconds between two looks at the memory
_LONG = 600.0  # seconds after the last disturbance: what fails now fails by itself


@dataclass
class Soak:
    """Takes both runs to their ends and notes what happened.

    Attributes:
        reference: The run that nothing disturbs.
        disturbed: The other one.
        fate: What happens to it, and when, until its last step.
        happened: Seconds and step of each disturbance.
        statuses: What the launcher of the disturbed run exited with, start by start.
        samples: The memory of all processes.
        pids: Their numbers.
        problems: A line for each thing that should not be.
    """

    reference: SoakedRun
    disturbed: SoakedRun
    fate: Fate
    happened: list[tuple[float, int, Disturbance]] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    pids: set[int] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)

    def run(self, tell: Callable[[str], None]) -> None:
        """Run both to their ends.

        Args:
            tell: Takes a line for each thing that happens.
        """
        self._begin, self._tell = time.monotonic(), tell
        self._ended: dict[str, float] = {}  # when the launcher of a run ended
        self._worked: dict[int, float] = {}  # processor time of the disturbed run's processes
        for run in (self.reference, self.disturbed):
            run.start()
        strike, look = self.fate.wait(), 0.0
        running = [self.reference, self.disturbed]
        try:
            while running:
                time.sleep(_TICK)
                now = time.monotonic() - self._begin
                if now >= look:
                    look = now + _SAMPLE
                    self._look(now)
                self._worked |= {it.pid: it.worked for it in self.disturbed.processes()}
                worked = sum(self._worked.values())
                learning = self.disturbed.step() < self.disturbed.steps
                if worked >= strike and learning:
                    strike = worked + self.fate.wait()
                    self._strike(now)
                running = [run for run in running if not self._is_over(run, now)]
        finally:
            for run in (self.reference, self.disturbed):
                run.kill()

    def _look(self, now: float) -> None:
        for run in (self.reference, self.disturbed):
            step = run.step()
            for it in run.processes():
                owner = f" of rank {it.rank}" if it.kind == WORKER else ""
                number = f" {it.rank}" if it.kind == "rank" else ""
                name = f"{it.kind}{number}{owner} ({it.pid})"
                self.samples.append(Sample(now, run.name, name, step, it.memory))
                self.pids.add(it.pid)

    def _strike(self, now: float) -> None:
        step = self.disturbed.step()
        what = self.fate.strike(self.disturbed.processes())
        if what is not None:
            self.happened.append((now, step, what))
            self._tell(f"{now / 60:6.1f} min  step {step}  {what}")

    def _is_over(self, run: SoakedRun, now: float) -> bool:
        """Return whether a run has come to its end. One that stopped before it starts again."""
        status = run.status()
        if status is None:
            return False
        ended = self._ended.setdefault(run.name, now)
        left = run.processes()
        if left and now - ended < PATIENCE:
            return False
        if left:
            kinds = ", ".join(it.kind for it in left)
            self._problem(f"{run.name}: {now - ended:.0f} s after its launcher live {kinds}")
            run.kill()
        del self._ended[run.name]
        if run is self.disturbed:
            self.statuses.append(status)
            self._tell(f"{now / 60:6.1f} min  step {run.step()}  torchrun exits with {status}")
        if status == 0:
            return True
        if run is self.reference:
            self._problem(f"{run.name}: torchrun exits with {status}, see {run.log}")
            return True
        last = self.happened[-1][0] if self.happened else 0.0
        if run.step() >= run.steps and now - last > _LONG:
            self._problem(f"{run.name}: stops with {status} though nothing disturbs it")
            return True
        run.start()
        return False

    def _problem(self, line: str) -> None:
        self.problems.append(line)
        self._tell(line)
