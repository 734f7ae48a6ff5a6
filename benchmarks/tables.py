"""The measurements as tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.records import (
    LOSES,
    OURS,
    Group,
    Record,
    advantage,
    disturbance,
    groups,
    machine,
    own,
    rivals,
    unique,
)
from tcae_ops.selftest.workloads import CONTIGUOUS


def tables(measured: Record) -> str:
    """Return all tables, in Markdown."""
    compared = groups(measured, variants=False)
    sections = [
        f"Measured on {machine(measured)}; medians of rounds in turns.{disturbance(measured)}",
        "![speed over the eager composition, every case](speed.svg)",
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
    return "\n\n".join(sections) + "\n"


def summary(compared: dict[str, Group]) -> str:
    """Return our speed over eager's on plain data, operators and passes by shapes and flows."""
    ours = [group[OURS] for group in compared.values() if group[OURS]["data"] == CONTIGUOUS]
    columns = unique(f"{r['size']} {r['flow']}" for r in ours)
    cells: dict[str, dict[str, str]] = {}
    for r in ours:
        row = cells.setdefault(f"`{r['op']}` {r['span']}", {})
        row[f"{r['size']} {r['flow']}"] = factor(r["speed_over_eager"])
    rows = [[name, *(row.get(column, "") for column in columns)] for name, row in cells.items()]
    return table(["", *columns], rows)


def details(compared: dict[str, Group]) -> str:
    """Return one row per case."""
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
    """Return our other backends and instruction sets, one row per case that has them."""
    names = unique(name for group in compared.values() for name in group if own(name))
    rows = []
    for case, group in compared.items():
        if any(own(name) for name in group):
            cells = (f"{advantage(group, name):.3g}x" if name in group else "" for name in names)
            rows.append([case, *cells])
    return table(["case", *names], rows)


def kinds_of_data(variants: Iterable[Group]) -> str:
    """Return one row per kind of data, one column per operator and pass."""
    records = [group[OURS] for group in variants]
    columns = unique(f"`{r['op']}` {r['span']}" for r in records)
    cells: dict[str, dict[str, str]] = {}
    for r in records:
        speed = r["speed_over_fp32"]
        row = cells.setdefault(r["data"], {})
        row[f"`{r['op']}` {r['span']}"] = f"{speed:.2f}" + (f" {LOSES}" if speed < 0.7 else "")
    rows = [[name, *(row.get(column, "") for column in columns)] for name, row in cells.items()]
    return table([f"{records[0]['size']}, {LOSES}: below 0.70", *columns], rows)


def factor(value: float, least: float = 1) -> str:
    """Format a speed-up, with a mark if it is too small."""
    text = f"{value:.0f}x" if value >= 10 else f"{value:.2g}x"
    return f"**{text} {LOSES}**" if value < least else text


def memory(record: Record) -> str:
    extra = record["extra_bytes"]
    if extra is None:
        return "?"
    if extra < 0.01 * record["image_bytes"]:
        return "< 1 % of the image"
    return f"{extra / 1024:.0f} KiB"


def table(head: list[str], rows: list[list[str]]) -> str:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, rule, *rows])
