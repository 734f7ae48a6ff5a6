"""Stopping a run between two steps rather than in the middle of one."""

from __future__ import annotations

import signal
from types import FrameType


class StopSignals:
    """While active, Ctrl-C, SIGTERM and SIGUSR1 are noted instead of obeyed.

    A second Ctrl-C is obeyed at once. Launchers and batch systems send the others more than once:
    SIGTERM before they kill, SIGUSR1 some minutes before the time is up.

    Example:
        >>> with StopSignals() as stop:
        ...     while not stop.received:
        ...         signal.raise_signal(signal.SIGTERM)  # some work, and then this comes
        >>> stop.received == signal.SIGTERM
        True
    """

    _WATCHED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)

    def __init__(self) -> None:
        self.received = 0
        """Number of the signal that came, 0 if none did."""

    def __enter__(self) -> StopSignals:
        self._before = {number: signal.signal(number, self._note) for number in self._WATCHED}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.received = number
        if number == signal.SIGINT:
            signal.signal(number, self._before[signal.SIGINT])


def leave_signals_to_the_parent(_: int) -> None:
    """In a worker process: ignore Ctrl-C and the rest, which reach the whole process group.

    The main process finishes its step with the workers' help, and then ends them.
    """
    for number in StopSignals._WATCHED:
        signal.signal(number, signal.SIG_IGN)
