"""A process whose launcher dies ends, too: it gets SIGTERM."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

# Says when it watches, and what stopped it, into the file of its argument.
CHILD = """
import os, signal, sys, time
from tcae.distributed import launcher

launcher._SECONDS = 0.05

def note(number, _):
    open(sys.argv[1] + "/stopped", "w").write(str(number))
    os._exit(0)

signal.signal(signal.SIGTERM, note)
while sys.argv[2] == "late" and os.getppid() == int(sys.argv[3]):
    open(sys.argv[1] + "/started", "w")
    time.sleep(0.05)
launcher.stop_with_launcher()
open(sys.argv[1] + "/started", "w")
time.sleep(float(sys.argv[4]))
open(sys.argv[1] + "/slept", "w")
"""
LAUNCHER = """
import os, subprocess, sys, time
child = [sys.executable, "-c", *sys.argv[1:4], str(os.getpid()), sys.argv[4]]
subprocess.Popen(child)
time.sleep(60)
"""


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists() or (path.name == "stopped" and not path.read_text()):
        assert time.monotonic() < deadline, path
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("when", "torchrun", "sleep", "end"),
    [
        ("early", True, "60", "stopped"),
        ("late", True, "60", "stopped"),  # it died before anybody watched
        ("early", False, "1", "slept"),  # not a launcher: a shell that was left, for example
    ],
)
def test_it_gets_sigterm(tmp_path: Path, when: str, torchrun: bool, sleep: str, end: str) -> None:
    if when == "late" and b"python" in Path("/proc/1/cmdline").read_bytes():
        pytest.skip("whoever adopts orphans here could be a launcher")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    environment |= {"TORCHELASTIC_RUN_ID": "none"} if torchrun else {}
    words = [LAUNCHER, CHILD, str(tmp_path), when, sleep]
    launcher = subprocess.Popen([sys.executable, "-c", *words], env=environment)
    wait_for(tmp_path / "started")
    launcher.kill()
    launcher.wait()
    wait_for(tmp_path / end)
    assert [path.name for path in tmp_path.iterdir() if path.name != "started"] == [end]
    if end == "stopped":
        assert (tmp_path / end).read_text() == str(int(signal.SIGTERM))
