"""Are the tests any good? Plants errors in the kernels, one at a time: each must be noticed.

python tools/mutate            # all of them; the exit status is 1 if one is not noticed
python tools/mutate --write    # and writes the table of docs/testing.md
python tools/mutate --list     # only whether the sources still hold what is to be replaced
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from checks import ROOT, NotTriedError, caught_by, plant
from mutations import MUTATIONS, Mutation

PAGE = ROOT / "docs/testing.md"
BEGIN, END = "<!-- mutations: begin -->", "<!-- mutations: end -->"


def main() -> int:
    """Runs the command; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", metavar="TEXT", default="", help="those whose name holds this")
    parser.add_argument("--list", action="store_true", help="check the list, run nothing")
    parser.add_argument("--write", action="store_true", help="write the table of docs/testing.md")
    options = parser.parse_args()
    chosen = [m for m in MUTATIONS if options.only in m.breaks]
    with tempfile.TemporaryDirectory() as folder:
        if options.list:
            return _list(chosen, Path(folder))
        noticed = _run(chosen, Path(folder))
    missed = [m.breaks for m, by in noticed if by is None]
    print(f"{len(noticed) - len(missed)} of {len(noticed)} mutations noticed")
    if options.write and len(noticed) == len(MUTATIONS) and not missed:
        text = PAGE.read_text()
        before, rest = text.split(BEGIN)
        PAGE.write_text(before + BEGIN + "\n" + _table(noticed) + END + rest.split(END)[1])
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
    here = set()
    for check in dict.fromkeys(m.check for m in mutations):
        try:
            wrong = caught_by(check, ROOT, folder)
        except NotTriedError as reason:
            print(f"not tried: {reason}")
            continue
        if wrong is not None:
            raise SystemExit(f"without any mutation {check} says: {wrong}")
        here.add(check)
    noticed = []
    for mutation in (m for m in mutations if m.check in here):
        begin = time.monotonic()
        by = caught_by(mutation.check, plant(mutation, folder), folder)
        seconds = time.monotonic() - begin
        print(f"{mutation.path}: {mutation.breaks} -> {by or 'NOT NOTICED'} ({seconds:.1f} s)")
        sys.stdout.flush()
        noticed.append((mutation, by))
    return noticed


def _table(noticed: list[tuple[Mutation, str | None]]) -> str:
    lines = ["| file | error | noticed by |", "|---|---|---|"]
    lines += [f"| `{m.path}` | {m.breaks} | {by} |" for m, by in noticed]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
