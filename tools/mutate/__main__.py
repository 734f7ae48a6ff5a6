"""Test the tests: plant errors in the kernels, one at a time. The tests must catch each of them.

python tools/mutate            # plant all errors; the exit status is 1 if one is not caught
python tools/mutate --sample 8 # plant eight of them, others each time
python tools/mutate --write    # also write the table of docs/testing.md
python tools/mutate --list     # only check that the sources still contain the texts to replace
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from checks import ROOT, CannotRunError, caught_by, copy, plant
from mutation import Mutation
from mutations import MUTATIONS

PAGE = ROOT / "docs/testing.md"
BEGIN, END = "<!-- mutations: begin -->", "<!-- mutations: end -->"


def main() -> int:
    """Run the command. Return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--only", metavar="TEXT", default="", help="only the errors whose name contains TEXT")
    add("--sample", metavar="N", type=int, help="only N of the errors, drawn at random")
    add("--list", action="store_true", help="check and print the list of errors, run nothing")
    add("--write", action="store_true", help="write the table of docs/testing.md after the run")
    options = parser.parse_args()
    chosen = [m for m in MUTATIONS if options.only in m.breaks]
    if options.sample is not None:
        chosen = random.sample(chosen, min(options.sample, len(chosen)))
    with tempfile.TemporaryDirectory() as folder:
        if options.list:
            return _list(chosen, Path(folder))
        results = _run(chosen, Path(folder))
    missed = [m.breaks for m, by in results if by is None]
    print(f"{len(results) - len(missed)} of {len(results)} mutations caught")
    if options.write and len(results) == len(MUTATIONS) and not missed:
        text = PAGE.read_text()
        before, rest = text.split(BEGIN)
        PAGE.write_text(before + BEGIN + "\n" + _table(results) + END + rest.split(END)[1])
    return 1 if missed else 0


def _list(mutations: list[Mutation], folder: Path) -> int:
    stale = 0
    for mutation in mutations:
        try:
            plant(mutation, folder)
        except (ValueError, OSError) as error:
            print(error, file=sys.stderr)
            stale = 1
        else:
            print(mutation.breaks)
    return stale


def _run(mutations: list[Mutation], folder: Path) -> list[tuple[Mutation, str | None]]:
    usable = set()
    for check in dict.fromkeys(m.check for m in mutations):
        try:
            wrong = caught_by(check, copy(check, folder), folder)
        except CannotRunError as reason:
            print(f"cannot run: {reason}")
            continue
        if wrong is not None:
            raise SystemExit(f"without any mutation {check} says: {wrong}")
        usable.add(check)
    results = []
    for mutation in (m for m in mutations if m.check in usable):
        begin = time.monotonic()
        by = caught_by(mutation.check, plant(mutation, folder), folder)
        seconds = time.monotonic() - begin
        print(f"{mutation.path}: {mutation.breaks} -> {by or 'NOT CAUGHT'} ({seconds:.1f} s)")
        sys.stdout.flush()
        results.append((mutation, by))
    return results


def _table(results: list[tuple[Mutation, str | None]]) -> str:
    lines = ["| file | error | caught by |", "|---|---|---|"]
    lines += [f"| `{m.path}` | {m.breaks} | {by} |" for m, by in results]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
