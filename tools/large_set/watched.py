"""A command, watched: the memory of all its processes, and the files that it holds open."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_TICK = 0.1


@dataclass(frozen=True)
class Watched:
    """What was seen.

    Attributes:
        status: Its exit status.
        seconds: Seconds until what was waited for, and until its end.
        memory: Largest memory in bytes of all its processes together; what they share counts once.
        largest: Largest memory of one process, what it shares included.
        files: Most files that one process had open.
        processes: Most processes at a time.
    """

    status: int
    seconds: tuple[float, float]
    memory: int
    largest: int
    files: int
    processes: int


def watch(
    command: Sequence[str], log: Path, ready: Callable[[], bool], more: float = 0.0
) -> Watched:
    """Run a command until it is ready and for some seconds more, then stop it by SIGTERM.

    Args:
        command: The command.
        log: File for its output.
        ready: Whether it has come to what is waited for. It is asked ten times a second.
        more: Seconds to let it go on.
    """
    begin, came, stopped = time.monotonic(), 0.0, False
    peak = [0, 0, 0, 0]
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        while process.poll() is None:
            peak = [max(pair) for pair in zip(peak, _look(process.pid), strict=True)]
            now = time.monotonic() - begin
            if not came and ready():
                came = now
            if came and now > came + more and not stopped:
                process.send_signal(signal.SIGTERM)
                stopped = True
            time.sleep(_TICK)
    return Watched(process.returncode, (came, time.monotonic() - begin), *peak)


def _look(pid: int) -> list[int]:
    """Return memory of all, of the largest, most open files, and the number of processes."""
    found = [seen for each in _family(pid) if (seen := _of_process(each)) is not None]
    if not found:
        return [0, 0, 0, 0]
    shares, sizes, files = zip(*found, strict=True)
    return [sum(shares), max(sizes), max(files), len(found)]


def _family(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(each for child in children for each in _family(int(child)))]


def _of_process(pid: int) -> tuple[int, int, int] | None:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
        files = len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return None
    sizes = {line.split()[0]: int(line.split()[1]) << 10 for line in lines}
    return sizes["Pss:"], sizes["Rss:"], files
