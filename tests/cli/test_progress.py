from __future__ import annotations

import io
import sys

import pytest
import torch

from tcae.cli.progress import Progress, peak_memory_mb

HALF = 0.5


def test_means_and_speed_since_the_last_line() -> None:
    with Progress(0, 10) as progress:
        progress.add(4, waited=1.0, seconds=2.0, values={"loss": HALF, "rec": HALF})
        progress.add(4, waited=0.0, seconds=2.0, values={"loss": 3 * HALF})
        values = progress.flush()
        assert values["loss"] == 1.0
        assert values["rec"] == 0.5  # a term that joins later is averaged over its own steps
        assert values["images_per_second"] == 2.0  # the wait counts
        assert values["data_wait_share"] == 0.25
        progress.add(4, waited=0.0, seconds=1.0, values={"loss": HALF})
        assert progress.flush()["images_per_second"] == 4.0
        assert progress.overall()["images_per_second"] == 12 / 5
        assert progress.seconds_per_step == 5 / 3


def test_a_resumed_run_goes_on_with_the_sums() -> None:
    values = [torch.rand((), generator=torch.Generator().manual_seed(i)) for i in range(6)]
    with Progress(0, 6) as whole, Progress(0, 6) as before:
        for value in values:
            whole.add(1, 0.0, 1.0, {"loss": value})
        for value in values[:3]:
            before.add(1, 0.0, 1.0, {"loss": value})
        with Progress(3, 6, before.state_dict()) as after:
            for value in values[3:]:
                after.add(1, 0.0, 1.0, {"loss": value})
            assert after.flush()["loss"] == whole.flush()["loss"]
            assert after.seconds_per_step == whole.seconds_per_step


def test_without_a_terminal_there_are_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(0, 100) as progress:
        for _ in range(10):
            progress.add(8, 0.5, 2.0, {"loss": HALF})
        progress.tell(10, 100, progress.flush() | {"learning_rate": 1e-3})
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.startswith(
        "step 10/100  loss 0.5 | lr 1.00e-03 | 4 images/s, 25% waiting for data | "
    )
    assert captured.out.endswith(" MB | 3:00 left\n")


def test_the_pace_is_told_in_flop_too_once_they_are_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Progress(0, 100) as progress:
        progress.add(8, 0.0, 2.0, {"loss": HALF})
        counted = {"learning_rate": 1e-3, "tflop_per_second": 1.234}
        progress.tell(1, 100, progress.flush() | counted)
    assert "loss 0.5 | lr 1.00e-03 | 4 images/s, 1.23 TFLOP/s, 0% " in capsys.readouterr().out


def test_on_a_terminal_there_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    with Progress(5, 10) as progress:
        progress.add(8, 0.0, 1.0, {"loss": HALF})
        progress.tell(6, 10, progress.flush() | {"learning_rate": 1e-3})
    assert "6/10" in terminal.getvalue()
    assert "\r" in terminal.getvalue()


def test_peak_memory_is_that_of_the_process() -> None:
    before = peak_memory_mb()
    assert before > 20
    block = torch.ones(2**24)  # 64 MiB, written to
    assert peak_memory_mb() >= before
    assert block.numel() == 2**24
