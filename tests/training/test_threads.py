from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tcae.training import threads
from tcae.training.threads import leave_busy_cores


@pytest.fixture
def cores(monkeypatch, tmp_path):
    """Function that lets four cores do something while it is looked at; two are not ours."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(threads, "_CPU_TIMES", tmp_path / "stat")
    torch.set_num_threads(4)

    def write(busy):
        rows = ["cpu  1 2 3 4 5 6 7 8 0 0"]
        for number, share in enumerate(busy):
            rest = round(100 * (1 - share))
            rows.append(f"cpu{number} {70 + 100 - rest} 0 0 {40 + rest} 0 0 0 0 0 0")
        (tmp_path / "stat").write_text("\n".join([*rows, "intr 5", ""]))

    def watch(*busy):
        (tmp_path / "stat").write_text(
            "\n".join(f"cpu{number} 70 0 0 40 0 0 0 0 0 0" for number in range(6))
        )
        monkeypatch.setattr(threads.time, "sleep", lambda _: write([*busy, 1, 1]))

    return watch


@pytest.mark.parametrize(
    ("busy", "chosen", "used"),
    [
        ((0, 0, 0, 0), 4, None),
        ((0.3, 0, 0, 0.1), 4, None),
        ((1, 0, 0, 0), 3, "1.0"),
        ((1, 0.5, 0.2, 1), 1, "2.7"),
        ((1, 1, 1, 1), 1, "4.0"),
    ],
)
def test_as_many_threads_as_cores_are_free(cores, busy, chosen, used):
    cores(*busy)
    said = leave_busy_cores()
    assert torch.get_num_threads() == chosen
    if used is None:
        assert said == ""
    else:
        assert said.startswith(f"{chosen} of 4 threads, as other programs use {used} of 4 cores")


def test_a_number_that_the_user_chose_stays(cores, monkeypatch):
    cores(1, 1, 1, 1)
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert leave_busy_cores() == ""
    assert torch.get_num_threads() == 4


@pytest.mark.parametrize("content", [None, "cpu0 a b c d e f g h"])
def test_where_the_system_does_not_tell_nothing_is_changed(cores, content, tmp_path):
    if content is not None:
        (tmp_path / "stat").write_text(content)
    assert leave_busy_cores() == ""
    assert torch.get_num_threads() == 4


@pytest.mark.parametrize(
    ("chosen", "shown"),
    [
        ({}, "GOMP_SPINCOUNT = '2000'"),
        ({"GOMP_SPINCOUNT": "7"}, "GOMP_SPINCOUNT = '7'"),
        ({"OMP_WAIT_POLICY": "active"}, "OMP_WAIT_POLICY = 'ACTIVE'"),
    ],
)
def test_threads_wait_shortly_unless_the_user_says_how(chosen, shown):
    """What torch's OpenMP reads when it is loaded, as it says itself."""
    (folder,) = importlib.util.find_spec("torch").submodule_search_locations
    libraries = list(Path(folder).glob("lib/libgomp*"))
    if not libraries:
        pytest.skip("this torch has another OpenMP")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
    paths = {"PYTHONPATH": str(Path(threads.__file__).parents[2]), "OMP_DISPLAY_ENV": "verbose"}
    done = subprocess.run(
        [sys.executable, "-c", f"import tcae, ctypes; ctypes.CDLL({str(libraries[0])!r})"],
        env={**clean, **paths, **chosen},
        capture_output=True,
        text=True,
    )
    assert shown in done.stderr
    assert ("GOMP_SPINCOUNT = '2000'" in done.stderr) == (not chosen)
