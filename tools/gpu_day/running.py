"""One step: a process with a time limit, its output in a file."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PASSED, FAILED, NOT_RUN = "passed", "FAILED", "not run"


@dataclass(frozen=True)
class Step:
    """Something to run.

    Attributes:
        name: What it is, in a few words.
        command: The program and its arguments. The last line it prints is the result in short.
        limit: Seconds after which it is stopped.
        environment: Variables that are set for it.
        missing: Why it cannot be run here. Empty if it can.
    """

    name: str
    command: Sequence[str]
    limit: float
    environment: Mapping[str, str] = field(default_factory=dict)
    missing: str = ""


@dataclass(frozen=True)
class Result:
    """What became of a step."""

    name: str
    status: str
    note: str
    seconds: float = 0.0
    output: str = ""

    def __str__(self) -> str:
        return f"  {self.status} in {self.seconds:.0f} s: {self.note}"


def run(step: Step, folder: Path, deadline: float) -> Result:
    """Run a step, but not beyond the deadline of all, by `time.monotonic`."""
    left = deadline - time.monotonic()
    if step.missing or left <= 0:
        return Result(step.name, NOT_RUN, step.missing or "the time was over")
    limit = min(step.limit, left)
    path = folder / f"{step.name.replace(' ', '-').replace(',', '')}.txt"
    begin = time.monotonic()
    with path.open("wb") as file:
        try:
            process = subprocess.Popen(
                step.command,
                stdout=file,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=folder,
                env={**os.environ, **step.environment},
                start_new_session=True,
            )
        except OSError as error:
            return Result(step.name, FAILED, f"{step.command[0]}: {error.strerror}")
        stopped = _wait(process, limit)
    output = path.read_text(errors="replace").strip()
    seconds = time.monotonic() - begin
    last = output.splitlines()[-1].strip() if output else "no output"
    if stopped:
        return Result(step.name, FAILED, f"stopped after {limit:.0f} s: {last}", seconds, output)
    if process.returncode != 0:
        note = f"exit status {process.returncode}: {last}"
        return Result(step.name, FAILED, note, seconds, output)
    return Result(step.name, PASSED, last, seconds, output)


def _wait(process: subprocess.Popen[bytes], limit: float) -> bool:
    """Wait for a process, stop it and all it started at the limit, and return whether it was."""
    try:
        process.wait(limit)
    except subprocess.TimeoutExpired:
        return True
    else:
        return False
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()
