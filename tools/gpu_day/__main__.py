"""The first ten minutes on a GPU: build, test, train a little, and measure, into one file.

python tools/gpu_day

Needs torch, numpy and this checkout, no network. Each step is a process of its own with a time
limit, so none can spoil another, and the report is written after each. On a machine without a GPU
`--rehearse` takes every step as far as it goes.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch
from plan import Machine, plan
from report import Report
from running import run

MINUTES = 10.0


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit status: 1 if a step failed, 2 if it cannot begin."""
    parser = argparse.ArgumentParser(
        prog="tools/gpu_day", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("gpu_day"),
        help="directory of the report and of what is built (default: %(default)s)",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        help=f"after so many, what is left is not run (default: {MINUTES:g}, more in a rehearsal)",
    )
    parser.add_argument("--rehearse", action="store_true", help="go through it on the CPU")
    options = parser.parse_args(argv)
    if not options.rehearse and not torch.cuda.is_available():
        parser.exit(2, f"{parser.prog}: error: torch finds no GPU; --rehearse does without\n")
    machine = Machine.here(options.out.resolve(), options.rehearse)
    machine.out.mkdir(parents=True, exist_ok=True)
    report = Report(machine.out / "gpu_day.md", options.rehearse)
    minutes = options.minutes or MINUTES * machine.patience
    deadline = time.monotonic() + 60 * minutes
    try:
        for step in plan(machine):
            print(f"{step.name} ...", flush=True)
            report.add(run(step, machine.out, deadline))
            print(report.results[-1], flush=True)
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted; what was found is in {report.path}", file=sys.stderr)
        return 130
    report.finish()
    print(f"{report.summary()}; report: {report.path}")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
