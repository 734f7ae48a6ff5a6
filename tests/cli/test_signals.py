from __future__ import annotations

import os
import signal

import pytest

from tcae.cli.signals import StopSignals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_first_signal_is_noted(number: int) -> None:
    with StopSignals() as stop:
        assert stop.received == 0
        os.kill(os.getpid(), number)
        assert stop.received == number


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_launchers_may_repeat_themselves(number: int) -> None:
    with StopSignals() as stop:
        for _ in range(3):
            os.kill(os.getpid(), number)
        assert stop.received == number


def test_a_second_ctrl_c_is_obeyed_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), StopSignals() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.received == signal.SIGINT
        os.kill(os.getpid(), signal.SIGINT)


def test_afterwards_signals_are_as_before() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with StopSignals():
        os.kill(os.getpid(), signal.SIGTERM)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
