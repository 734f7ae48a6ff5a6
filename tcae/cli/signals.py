"""Signals that stop a run between two steps, not in the middle of one."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class StopSignals:
    """Records Ctrl-C, SIGTERM and SIGUSR1 while active, instead of stopping at once.

    Other threads than the main one get no signals, and there it records none. A second Ctrl-C stops
    at once. Launchers and batch systems send the others more than once:
    SIGTERM before they kill, SIGUSR1 some minutes before the time is up.

    Example:
        >>> with StopSignals() as stop:
        ...     while not stop.received:
        ...         signal.raise_signal(signal.SIGTERM)  # some work, interrupted by a signal
        >>> stop.received == signal.SIGTERM
        True
    """

    _WATCHED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)

    def __init__(self) -> None:
        self.received = 0
        """Number of the signal that came, 0 if none did."""

    def __enter__(self) -> StopSignals:
        main = threading.current_thread() is threading.main_thread()
        watched = self._WATCHED if main else ()
        self._before = {number: signal.signal(number, self._note) for number in watched}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.received = number
        if number == signal.SIGINT:
            signal.signal(number, self._before[signal.SIGINT])


@contextlib.contextmanager
def terminations_as_interrupts() -> Iterator[None]:
    """Let SIGTERM raise a `KeyboardInterrupt` as Ctrl-C does, for work that can stop anywhere.

    Example:
        >>> try:
        ...     with terminations_as_interrupts():
        ...         signal.raise_signal(signal.SIGTERM)
        ... except KeyboardInterrupt:
        ...     print("stopped")
        stopped
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # no other thread may change signals, or gets them
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def leave_signals_to_the_parent(_: int) -> None:
    """Ignore Ctrl-C, SIGTERM and SIGUSR1 in a worker process; they reach the whole process group.

    The main process finishes its step with the help of the workers, then ends them.
    """
    for number in StopSignals._WATCHED:
        signal.signal(number, signal.SIG_IGN)
