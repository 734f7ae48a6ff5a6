from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tcae.training import profiling
from tcae.training.profiling import StepsProfile

CPU = torch.device("cpu")


def profiled(folder: Path, steps: int, of: int) -> None:
    """Take steps, of which number k multiplies vectors of length k."""
    with StepsProfile(folder, steps, CPU) as profile:
        for length in range(1, of + 1):
            torch.dot(torch.ones(length), torch.ones(length))
            profile.step()


def test_the_steps_after_the_warm_up_are_in_trace_and_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(profiling, "WARMUP", 3)
    profiled(tmp_path / "profile", 2, of=9)
    trace = json.loads((tmp_path / "profile" / "trace.json").read_text())
    names = [event.get("name") for event in trace["traceEvents"]]
    assert names.count("aten::dot") == 2
    assert {name for name in names if str(name).startswith("ProfilerStep")} == {
        "ProfilerStep#3",  # counted from 0
        "ProfilerStep#4",
    }
    [row] = [
        line.split()
        for line in (tmp_path / "profile" / "operators.txt").read_text().splitlines()
        if "aten::dot" in line
    ]
    assert row[-1] == "2"  # calls
    assert capsys.readouterr().out == f"profile: {tmp_path / 'profile'}\n"


def test_a_run_that_ends_meanwhile_writes_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(profiling, "WARMUP", 3)
    profiled(tmp_path, 9, of=5)
    assert "aten::dot" in (tmp_path / "operators.txt").read_text()
    assert not caplog.messages
    profiled(tmp_path / "late", 9, of=2)
    assert caplog.messages == ["--profile: begins after 3 steps, and the run has ended"]
    assert not (tmp_path / "late").exists()


def test_without_the_option_there_is_no_profile(tmp_path: Path) -> None:
    profiled(tmp_path / "profile", 0, of=30)
    assert not (tmp_path / "profile").exists()
