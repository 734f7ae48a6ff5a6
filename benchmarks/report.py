"""Write what the benchmarks measured into the docs.

    pytest benchmarks/ --every-case --benchmark-only --benchmark-json=speed.json
    python -m benchmarks.report speed.json

replaces the text between the markers of ``docs/benchmarks.md``, and draws ``docs/speed.svg``. If
training steps were measured, it also replaces that of ``docs/scale.md``. After

    pytest benchmarks/test_training_step.py benchmarks/test_data.py --every-case ...

it only replaces that of ``docs/scale.md``. A figure is marked if it misses its goal or if something
else was faster than our operator.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks import goals, throughput
from benchmarks.plot import plot
from benchmarks.records import Record
from benchmarks.tables import tables

ROOT = Path(__file__).resolve().parents[1]


def main(argv: list[str] | None = None) -> int:
    """Run the command. Return its exit status."""
    parser = argparse.ArgumentParser(
        prog="report", description="Write measured speeds into the docs."
    )
    parser.add_argument("json", type=Path, help="the file that --benchmark-json wrote")
    parser.add_argument(
        "--root",
        type=Path,
        default=ROOT,
        help="the folder whose docs/ are updated",
    )
    arguments = parser.parse_args(argv)
    try:
        written = contents(json.loads(arguments.json.read_text()), arguments.root)
        for path, text in written.items():
            path.write_text(text)
    except KeyError as error:
        print(f"report: error: {arguments.json}: no {error} in it", file=sys.stderr)
        return 2
    except (OSError, ValueError) as error:
        print(f"report: error: {arguments.json}: {error}", file=sys.stderr)
        return 2
    return 0


def contents(measured: Record, root: Path) -> dict[Path, str]:
    """Return the new contents of the files below a root that show measured figures."""
    manual, scale = root / "docs/benchmarks.md", root / "docs/scale.md"
    training = throughput.report(measured)
    written = {} if training is None else {scale: between(scale, throughput=training)}
    if training is None or any("op" in b["extra_info"] for b in measured["benchmarks"]):
        written |= {
            manual: between(manual, goals=goals.report(measured), measured=tables(measured)),
            root / "docs/speed.svg": plot(measured),
        }
    return written


def between(path: Path, **contents: str) -> str:
    """Return a file's text with new content between its markers of each name."""
    text = path.read_text()
    for name, content in contents.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, found, rest = text.partition(begin)
        _, found_end, after = rest.partition(end)
        if not (found and found_end):
            raise ValueError(f"{path} has no {begin.strip()} and {end}")
        text = f"{before}{begin}\n{content.strip()}\n\n{end}{after}"
    return text


if __name__ == "__main__":
    sys.exit(main())
