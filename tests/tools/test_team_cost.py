"""What a team sends, in bytes and by kind."""

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
    """Bytes that a process sends: by hand, for four with a thousand bytes each."""
    assert tool.sent([["gather", 1000]], 4) == 3000
    # Around a ring, twice: 3 of 4 parts, first to be added, then as sums.
    assert tool.sent([["reduce", 1000]], 4) == 6 * 250
    assert tool.sent([["gather", 10], ["reduce", 1000], ["gather", 20]], 2) == 30 + 1000


def test_each_kind_is_counted(tool):
    calls = [["gather", 4], ["reduce", 1000], ["gather", 4]]
    assert tool._kinds(calls) == "2 gathers, 1 reduces"
