"""Test the operators on this machine: ``python -m tcae_ops.selftest``."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, NoReturn

from tcae_ops.selftest import checks, places, speed
from tcae_ops.selftest.report import FAILED, NOT_RUN, PASSED, Outcome, Report

PROG = "tcae_ops.selftest"


class Step(NamedTuple):
    """One thing to do. Its function returns a note, or raises."""

    check: str
    where: str
    run: Callable[[], str]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the checks and the benchmark, and write the report.

    Returns:
        The exit status: 0 if nothing that ran failed, 1 if something did, 2 if the report could
        not be written.
    """
    options = _parser().parse_args(argv)
    report = Report()
    try:
        report.write(options.out)
        _run(report, options.out, options.quick)
    except KeyboardInterrupt:
        return _say("interrupted", 130)
    except OSError as error:
        return _say(f"error: --out {options.out}: {error.strerror or error}", 2)
    print(f"{report.summary()}; report: {options.out}")
    return 1 if report.failures else 0


def _run(report: Report, out: Path, quick: bool) -> None:
    """Run all steps. The report is written after each, so a crash loses nothing."""
    for step in _plan(report, out, quick):
        outcome = _take(step)
        print(outcome, flush=True)
        report.outcomes.append(outcome)
        report.write(out)
    report.finished = True
    report.write(out)


def _plan(report: Report, out: Path, quick: bool) -> list[Step]:
    steps = [Step("all", name, _unable(reason)) for name, reason in places.unusable().items()]
    if places.GPU not in places.devices():
        steps += [Step(check, "all", _unable(places.NO_GPU)) for check in checks.ON_GPUS]
    for place in places.usable():
        for name, check in checks.of(place).items():
            left_out = quick and name in checks.SLOW
            run = _unable("--quick leaves it out") if left_out else partial(check, place)
            steps.append(Step(name, str(place), run))
    return steps if quick else [*steps, Step("speed", "all", partial(_measure, report, out))]


def _measure(report: Report, out: Path) -> str:
    report.copy_bandwidth = speed.copy_bandwidth(places.devices()[-1])
    for measurement in speed.measure_all():
        print(measurement, flush=True)
        report.speeds.append(measurement)
        report.write(out)
    failed = [m for m in report.speeds if m.ours and m.timing is None]
    if failed:
        raise RuntimeError(str(failed[0]))
    return f"{len(report.speeds)} measurements"


def _unable(reason: str) -> Callable[[], str]:
    def run() -> str:
        raise checks.Unable(reason)

    return run


def _take(step: Step) -> Outcome:
    start = time.perf_counter()
    status, details = PASSED, ""
    try:
        note = step.run()
    except checks.Unable as reason:
        status, note = NOT_RUN, str(reason)
    except Exception as error:  # the report must contain every failure
        status, note, details = FAILED, checks.first_line(error), traceback.format_exc()
    seconds = time.perf_counter() - start
    return Outcome(step.check, step.where, status, note, seconds, details)


def _say(words: str, status: int) -> int:
    print(f"{PROG}: {words}", file=sys.stderr)
    return status


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=PROG,
        description="Test every backend of the operators that is usable on this machine against "
        "their definition, measure their speed, and write a report to attach to an issue.",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("tcae_ops-selftest.md"),
        help="the report, in Markdown; an existing file is replaced (default: %(default)s)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="skip torch.compile and the speed measurements"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
