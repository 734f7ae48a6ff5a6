"""The processes of a run: found by a variable of their environment, wherever they have got to."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

MARK = "TCAE_SOAK"
"""Variable that names the run in the environment of all its processes."""

LAUNCHER, RANK, WORKER = "launcher", "rank", "worker"
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Process:
    """A process of a run, as it is now.

    Attributes:
        pid: Its number.
        kind: "launcher" (torchrun), "rank", or "worker" (reads data for a rank).
        rank: Of a rank or worker, else -1.
        memory: Resident memory in bytes.
    """

    pid: int
    kind: str
    rank: int
    memory: int


def processes(mark: str) -> list[Process]:
    """Return the living processes whose environment has a mark, the launcher first."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = _environment(folder)
            if environment.get(MARK) != mark:
                continue
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            memory = _PAGE * int((folder / "statm").read_text().split()[1])
        except (OSError, ValueError):  # it has ended meanwhile, or is another user's
            continue
        if state != "Z":
            found[int(folder.name)] = (int(parent), int(environment.get("RANK", -1)), memory)
    ranks = {pid for pid, (_, rank, _) in found.items() if rank >= 0}

    def kind(pid: int) -> str:
        if pid not in ranks:
            return LAUNCHER
        return WORKER if found[pid][0] in ranks else RANK

    rows = [Process(pid, kind(pid), rank, memory) for pid, (_, rank, memory) in found.items()]
    return sorted(rows, key=lambda it: (it.rank, it.kind, it.pid))


def _environment(folder: Path) -> dict[str, str]:
    pairs = (folder / "environ").read_bytes().decode(errors="replace").split("\0")
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}
