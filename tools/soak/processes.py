"""The processes of a run: found by a variable of their environment, wherever they have got to."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

MARK = "TCAE_SOAK"
"""Variable that names the run in the environment of all its processes."""

LAUNCHER, RANK, WORKER = "launcher", "rank", "worker"
_PAGE, _TICKS = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Process:
    """A process of a run, as it is now.

    Attributes:
        pid: Its number.
        kind: "launcher" (torchrun), "rank", or "worker" (reads data for a rank).
        rank: Of a rank or worker, else -1.
        memory: Resident memory in bytes.
        worked: Processor time that it has used, in seconds.
    """

    pid: int
    kind: str
    rank: int
    memory: int
    worked: float = 0.0


def processes(mark: str) -> list[Process]:
    """Return the living processes whose environment has a mark, the launcher first."""
    found, parents = [], {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = _environment(folder)
            if environment.get(MARK) != mark:
                continue
            state, parent, *others = (folder / "stat").read_text().rpartition(")")[2].split()
            worked = (int(others[9]) + int(others[10])) / _TICKS
            memory = _PAGE * int((folder / "statm").read_text().split()[1])
        except (OSError, ValueError):  # it has ended meanwhile, or is another user's
            continue
        if state != "Z":
            rank = int(environment.get("RANK", -1))
            pid = int(folder.name)
            parents[pid] = int(parent)
            found.append(Process(pid, LAUNCHER if rank < 0 else RANK, rank, memory, worked))
    ranks = {it.pid for it in found if it.kind == RANK}
    rows = [replace(it, kind=WORKER) if parents[it.pid] in ranks else it for it in found]
    return sorted(rows, key=lambda it: (it.rank, it.kind, it.pid))


def _environment(folder: Path) -> dict[str, str]:
    pairs = (folder / "environ").read_bytes().decode(errors="replace").split("\0")
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}
