"""What a team of processes costs: counted, and measured with one, two and four processes.

python tools/team_cost

All times are processor time of one process. A step of processes that train apart, as many as cores,
takes `a + b * pairs`; two sizes of batch tell both. In a team each collective takes `c` more, with
what is sent, the waiting and caches that are cold after it. The smallest batch of each team tells
its `c`; the steps with more pairs are predicted.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

_HERE = Path(__file__).resolve().parent
PAIRS, TEAMS = (4, 8, 16), (2, 4)  # of each process; processes


def sent(calls: list[list[Any]], processes: int) -> float:
    """Return the bytes that a process sends: to each of the others, or around a ring, twice."""
    others = processes - 1
    return sum(
        others * size if kind == "gather" else 2 * others * size / processes for kind, size in calls
    )


def main() -> int:
    """Measure and predict."""
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    low, high = (_apart(pairs, steps) for pairs in (PAIRS[0], PAIRS[-1]))
    each = (high - low) / (PAIRS[-1] - PAIRS[0])
    print(f"apart: {1e3 * (low - PAIRS[0] * each):.1f} ms + {1e3 * each:.2f} ms for each pair")
    for processes in TEAMS:
        found = {pairs: _measured(processes, pairs, steps) for pairs in PAIRS}
        for pairs, seen in found.items():
            predicted = found[PAIRS[0]]["step"] + (pairs - PAIRS[0]) * each
            print(
                f"{processes} processes of {pairs} pairs: {_kinds(seen['calls'])}, "
                f"{sent(seen['calls'], processes) / 1e6:.2f} MB sent; step "
                f"{1e3 * predicted:.0f} ms predicted, {1e3 * seen['step']:.0f} measured, "
                f"{predicted / seen['step'] - 1:+.1%}{' (fitted)' if pairs == PAIRS[0] else ''}"
            )
        more = (found[PAIRS[0]]["step"] - low) / len(found[PAIRS[0]]["calls"])
        print(f"a collective of {processes} processes: {1e3 * more:.2f} ms", flush=True)
    apart = _measured(TEAMS[0], PAIRS[0], 1, "apart")
    print(f"with --no-sync-batch-norm: {_kinds(apart['calls'])}")
    return 0


def _kinds(calls: list[list[Any]]) -> str:
    return ", ".join(f"{n} {kind}s" for kind, n in sorted(Counter(k for k, _ in calls).items()))


def _apart(pairs: int, steps: int) -> float:
    """Return the processor time of a step of as many processes as cores that know no team."""
    with ThreadPoolExecutor() as pool:
        cores = range(len(os.sched_getaffinity(0)))
        return statistics.mean(pool.map(lambda _: _measured(1, pairs, steps)["step"], cores))


def _measured(processes: int, pairs: int, steps: int, *words: str) -> dict[str, Any]:
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(_HERE.parents[1])}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "found.json"
        program = [str(_HERE / "step_cost.py"), str(pairs), str(steps), str(path), *words]
        command = [sys.executable, *(launcher if processes > 1 else []), *program]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        return dict(json.loads(path.read_text()))


if __name__ == "__main__":
    sys.exit(main())
