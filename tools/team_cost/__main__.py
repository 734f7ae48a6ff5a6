"""What a team of processes costs: measured with one, two and four, predicted from fewer.

python tools/team_cost

All times are processor time of one process, which other programs on the machine hardly change. A
step is `a + b * pairs`, from one process with two sizes of batch. A message costs `start + bytes *
byte`, from single collectives of two processes. A gather has P - 1 messages, a sum over processes 2
(P - 1) of a P-th of the bytes. Nothing is fitted to the steps that are predicted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

_HERE = Path(__file__).resolve().parent
ALONE = (4, 16)  # pairs
POINTS = ((2, 4), (2, 8), (4, 4), (4, 8))  # processes, pairs of each


def messages(kind: str, size: float, processes: int) -> tuple[float, float]:
    """Return how many messages a collective has for a process, and their bytes."""
    others = processes - 1
    return (
        (others, others * size) if kind == "gather" else (2 * others, 2 * others * size / processes)
    )


def message_costs(probes: list[list[Any]], processes: int) -> tuple[float, float]:
    """Return the seconds of a message and of a byte that fit single collectives best."""
    import numpy as np

    rows = np.array([messages(kind, size, processes) for kind, size, _ in probes], float)
    times = np.array([seconds for *_, seconds in probes])
    # Relative errors count, as small ones are a thousandth of large ones.
    start, byte = np.linalg.lstsq(rows / times[:, None], np.ones(len(times)), rcond=None)[0]
    return float(start), float(byte)


def team_seconds(calls: list[list[Any]], processes: int, costs: tuple[float, float]) -> float:
    """Return the processor time of the collectives of a step in each process."""
    counts = [messages(kind, size, processes) for kind, size in calls]
    return sum(number * costs[0] + size * costs[1] for number, size in counts)


def main() -> int:
    """Measure and predict."""
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    alone = {pairs: _measured(1, pairs, steps) for pairs in ALONE}
    low, high = (alone[pairs]["step"] for pairs in ALONE)
    each = (high - low) / (ALONE[1] - ALONE[0])
    fixed = low - ALONE[0] * each
    print(f"one process: {1e3 * fixed:.1f} ms + {1e3 * each:.2f} ms for each pair")
    costs = None
    for processes, pairs in POINTS:
        found = _measured(processes, pairs, steps)
        costs = costs or message_costs(found["probes"], processes)
        kinds = Counter(kind for kind, _ in found["calls"])
        sent = sum(messages(kind, size, processes)[1] for kind, size in found["calls"])
        sending = team_seconds(found["calls"], processes, costs)
        predicted = fixed + pairs * each + sending
        print(
            f"{processes} processes of {pairs} pairs: {dict(kinds)}, {sent / 1e6:.2f} MB sent; "
            f"collectives {1e3 * sending:.1f} ms predicted, {1e3 * found['sent alone']:.1f} alone; "
            f"step {1e3 * predicted:.1f} ms predicted, {1e3 * found['step']:.1f} measured, "
            f"{predicted / found['step'] - 1:+.0%}",
            flush=True,
        )
    print(f"a message: {1e6 * costs[0]:.0f} us and {1e9 * costs[1]:.2f} ns a byte")  # type: ignore[index]
    return 0


def _measured(processes: int, pairs: int, steps: int) -> dict[str, Any]:
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(_HERE.parents[1])}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "found.json"
        program = [str(_HERE / "step_cost.py"), str(pairs), str(steps), str(path)]
        command = [sys.executable, *(launcher if processes > 1 else []), *program]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        return dict(json.loads(path.read_text()))


if __name__ == "__main__":
    sys.exit(main())
