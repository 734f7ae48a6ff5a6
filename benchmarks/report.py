"""Turns the JSON of pytest-benchmark into tables and a plot.

    pytest benchmarks --benchmark-only --benchmark-json=speed.json
    python benchmarks/report.py speed.json --out docs

writes ``speed.md`` and ``speed.svg``. Wherever something else was faster than our operator, the
figure is marked. The plot is drawn by hand: it needs no library, and its text stays diffable.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

OURS = "tcae_ops"
LOSES = "▼"

Record = dict[str, Any]
Group = dict[str, Record]  # the records of one case, by provider


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Tables and a plot of measured speeds.")
    parser.add_argument("json", type=Path, help="what --benchmark-json wrote")
    parser.add_argument(
        "--out", type=Path, default=Path(), help="directory for speed.md, speed.svg"
    )
    arguments = parser.parse_args(argv)
    try:
        measured = json.loads(arguments.json.read_text())
        markdown, svg = tables(measured), plot(measured)
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "speed.md").write_text(markdown)
        (arguments.out / "speed.svg").write_text(svg)
    except (OSError, ValueError, KeyError) as error:
        print(f"report: error: {arguments.json}: {error!r}", file=sys.stderr)
        return 2
    return 0


def machine(measured: Record) -> str:
    """What it was measured on, in general terms."""
    m = measured["machine_info"]["tcae"]
    kernels = "" if m["device"] == "cuda" else f"{m['kernels']} kernels, "
    return f"{m['processor']}, {kernels}torch {m['torch']}, copying {m['copy_gb_per_s']:.1f} GB/s"


def disturbance(measured: Record) -> str:
    """How busy the machine was with something else, if that is known and matters."""
    shares = [b["extra_info"].get("cores_taken_elsewhere") for b in measured["benchmarks"]]
    known = [share for share in shares if share is not None]
    if not known or statistics.median(known) < 0.05:
        return ""
    return f" Other processes took {statistics.median(known):.0%} of the cores meanwhile."


def groups(measured: Record, variants: bool) -> dict[str, Group]:
    """Records of the operators by case: those of several providers, or those of kinds of data."""
    found: dict[str, Group] = {}
    for benchmark in measured["benchmarks"]:
        record = benchmark["extra_info"] | {"seconds": benchmark["stats"]["median"]}
        if "op" in record and ("speed_over_fp32" in record) == variants:
            found.setdefault(benchmark["group"], {})[record["provider"]] = record
    complete = {name: group for name, group in found.items() if OURS in group}
    if not complete:
        raise ValueError("no measurement of an operator of ours in it")
    return complete


def tables(measured: Record) -> str:
    """All tables, in Markdown."""
    compared = groups(measured, variants=False)
    sections = [
        f"Measured on {machine(measured)}; medians of rounds in turns.{disturbance(measured)}",
        "Times faster than the eager composition:\n\n" + summary(compared),
        f"Each case. Under other names: how many times faster ours is; {LOSES}: slower.\n\n"
        + details(compared),
    ]
    if any(own(name) for group in compared.values() for name in group):
        title = "Our other backends and instruction sets: how many times slower they are."
        sections.append(f"{title}\n\n{own_variants(compared)}")
    if any("speed_over_fp32" in b["extra_info"] for b in measured["benchmarks"]):
        kinds = kinds_of_data(groups(measured, variants=True).values())
        sections.append("Speed of other kinds of data, contiguous fp32 = 1:\n\n" + kinds)
    for benchmark in measured["benchmarks"]:
        if "images_per_second" in benchmark["extra_info"]:
            info = benchmark["extra_info"]
            sections.append(
                f"A training step (preset default, {info['image_size']}x{info['image_size']}, "
                f"batch {info['batch_size']}): {info['images_per_second']:.1f} images/s."
            )
    return "\n\n".join(sections) + "\n"


def summary(compared: dict[str, Group]) -> str:
    """Operators and passes by shapes and flows: our speed over eager's."""
    ours = [group[OURS] for group in compared.values()]
    columns = unique(f"{r['size']} {r['flow']}" for r in ours)
    cells: dict[str, dict[str, str]] = {}
    for r in ours:
        row = cells.setdefault(f"`{r['op']}` {r['span']}", {})
        row[f"{r['size']} {r['flow']}"] = factor(r["speed_over_eager"])
    rows = [[name, *(row.get(column, "") for column in columns)] for name, row in cells.items()]
    return table(["", *columns], rows)


def details(compared: dict[str, Group]) -> str:
    """One row for each case."""
    others = unique(name for group in compared.values() for name in rivals(group))
    head = ["case", "ms", "GB/s", "of copy", "extra memory", *others]
    rows = []
    for name, group in compared.items():
        r = group[OURS]
        row = [name, f"{r['seconds'] * 1e3:.3g}", f"{r['gb_per_s']:.3g}"]
        row += [f"{r['share_of_copy']:.0%}", memory(r)]
        row += [factor(advantage(group, other)) if other in group else "" for other in others]
        rows.append(row)
    return table(head, rows)


def own_variants(compared: dict[str, Group]) -> str:
    """Our operator by other backends or instruction sets, one row for each case that has them."""
    names = unique(name for group in compared.values() for name in group if own(name))
    rows = []
    for case, group in compared.items():
        if any(own(name) for name in group):
            cells = (f"{advantage(group, name):.3g}x" if name in group else "" for name in names)
            rows.append([case, *cells])
    return table(["case", *names], rows)


def kinds_of_data(variants: Iterable[Group]) -> str:
    """One row for each kind of data, one column for each operator and pass."""
    records = [group[OURS] for group in variants]
    columns = unique(f"`{r['op']}` {r['span']}" for r in records)
    cells: dict[str, dict[str, str]] = {}
    for r in records:
        speed = r["speed_over_fp32"]
        row = cells.setdefault(r["data"], {})
        row[f"`{r['op']}` {r['span']}"] = f"{speed:.2f}" + (f" {LOSES}" if speed < 0.7 else "")
    rows = [[name, *(row.get(column, "") for column in columns)] for name, row in cells.items()]
    return table([f"{records[0]['size']}, {LOSES}: below 0.70", *columns], rows)


def advantage(group: Group, other: str) -> float:
    """How many times faster ours is; both were measured in turns with eager."""
    return group[OURS]["speed_over_eager"] / group[other]["speed_over_eager"]


def own(name: str) -> bool:
    """Whether this is our operator under an override."""
    return name.startswith(f"{OURS}, ")


def rivals(group: Group) -> list[str]:
    return [name for name in group if name != OURS and not own(name)]


def factor(value: float) -> str:
    text = f"{value:.0f}x" if value >= 10 else f"{value:.2g}x"
    return f"**{text} {LOSES}**" if value < 1 else text


def memory(record: Record) -> str:
    extra = record["extra_bytes"]
    if extra is None:
        return "?"
    if record["extra_share_of_image"] < 0.01:
        return "< 1 % of the image"
    return f"{extra / 1024:.0f} KiB"


def unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def table(head: list[str], rows: list[list[str]]) -> str:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, rule, *rows])


# The plot: one line for each case, one dot for each provider, speed over eager to the right.

_COLOURS = ["#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999"]
_LEFT, _WIDTH, _LINE, _TOP = 360, 520, 18, 70


def plot(measured: Record) -> str:
    """The plot, as SVG."""
    compared = groups(measured, variants=False)
    names = unique([OURS, *(name for group in compared.values() for name in group)])
    colours = {name: _COLOURS[min(i, len(_COLOURS) - 1)] for i, name in enumerate(names)}
    speeds = [r["speed_over_eager"] for group in compared.values() for r in group.values()]
    low, high = math.floor(math.log2(min(speeds))), math.ceil(math.log2(max(speeds)))
    span = max(high - low, 1)

    def at(speed: float) -> float:
        return _LEFT + _WIDTH * (math.log2(speed) - low) / span

    height = _TOP + _LINE * len(compared) + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDTH + 30}" height="{height}"'
        ' font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
        text(10, 18, "Speed over the eager composition (1 = as fast, logarithmic)", size=13),
        text(10, 34, f"{machine(measured)}. {LOSES}: something else was faster than tcae_ops"),
    ]
    parts += _legend(colours)
    parts += _scale(range(low, high + 1), at, height)
    for i, (name, group) in enumerate(compared.items()):
        parts += _line(_TOP + _LINE * (i + 0.7), name, group, colours, at)
    return "\n".join([*parts, "</svg>\n"])


def _legend(colours: dict[str, str]) -> list[str]:
    parts, x = [], 14.0
    for name, colour in colours.items():
        parts += [dot(x, 50, colour), text(x + 8, 54, name)]
        x += 30 + 6.5 * len(name)
    return parts


def _scale(powers: range, at: Callable[[float], float], height: int) -> list[str]:
    parts = []
    for power in powers:
        x = at(2.0**power)
        colour = "#444444" if power == 0 else "#dddddd"
        parts.append(
            f'<path d="M{x:.1f} {_TOP}V{height - 30}" stroke="{colour}" stroke-width="1"/>'
        )
        times = f"{2**power}x" if power >= 0 else f"1/{2**-power}x"
        parts.append(text(x, height - 14, times, anchor="middle"))
    return parts


def _line(
    y: float, name: str, group: Group, colours: dict[str, str], at: Callable[[float], float]
) -> list[str]:
    loses = any(advantage(group, other) < 1 for other in rivals(group))
    label = f"{LOSES} {name}" if loses else name
    parts = [text(_LEFT - 10, y + 4, label, anchor="end", colour="#b00020" if loses else "black")]
    parts.append(f'<path d="M{_LEFT} {y:.1f}h{_WIDTH}" stroke="#eeeeee"/>')
    for other in reversed(colours):  # ours on top
        if other in group:
            parts.append(dot(at(group[other]["speed_over_eager"]), y, colours[other]))
    return parts


def dot(x: float, y: float, colour: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}" fill-opacity="0.85"/>'


def text(
    x: float, y: float, words: str, *, anchor: str = "start", size: int = 11, colour: str = "black"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
        f'fill="{colour}">{escape(words)}</text>'
    )


if __name__ == "__main__":
    sys.exit(main())
