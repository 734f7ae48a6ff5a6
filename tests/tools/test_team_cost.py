"""The arithmetic of what a team's messages cost."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "tools/team_cost/__main__.py"


@pytest.fixture
def tool():
    spec = importlib.util.spec_from_file_location("team_cost", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_value_reaches_every_process(tool):
    """Bytes that processes send: by hand, for four with a thousand bytes each."""
    assert tool.messages("gather", 1000, 4) == (3, 3000)
    # Around a ring, twice: each process sends 3 of 4 parts, first to be added, then as sums.
    assert tool.messages("reduce", 1000, 4) == (6, 6 * 250)


def test_the_costs_that_made_the_times_are_found(tool):
    start, byte = 2e-5, 3e-10
    probes = [
        [kind, size, start * number + byte * sent]
        for kind in ("gather", "reduce")
        for size in (256, 2**22)
        for number, sent in [tool.messages(kind, size, 2)]
    ]
    assert tool.message_costs(probes, 2) == pytest.approx((start, byte))
    calls = [["gather", 100], ["reduce", 4000]]
    by_hand = 3 * start + 300 * byte + 6 * start + 6000 * byte
    assert tool.team_seconds(calls, 4, (start, byte)) == pytest.approx(by_hand)
