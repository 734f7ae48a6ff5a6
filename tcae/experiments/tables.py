"""Tables as CSV to compute with, Markdown to read and LaTeX to print."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tcae.files.durable import write_durably


@dataclass(frozen=True)
class Line:
    """One row of a table.

    Attributes:
        title: What the row is.
        group: Rows of one group stand together.
        values: One for each column; NaN where there is none.
        source: "ours" or "paper".
        low: Lower end of the interval of the last value; NaN where there is none.
        high: Upper end.
    """

    title: str
    group: str
    values: tuple[float, ...]
    source: str = "ours"
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True)
class Table:
    """A table of numbers.

    Attributes:
        caption: What it shows.
        columns: Names of the columns of numbers.
        lines: Its rows, in order.
        percent: Whether values are shares, to be shown times 100 as in the paper.
    """

    caption: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    percent: bool = True

    @property
    def bounded(self) -> bool:
        """Whether any line has an interval."""
        return any(not math.isnan(line.low) for line in self.lines)


def write_table(folder: Path, stem: str, table: Table) -> None:
    """Write ``stem.csv``, ``stem.md`` and ``stem.tex``."""
    folder.mkdir(parents=True, exist_ok=True)
    for ending, text in (("csv", as_csv(table)), ("md", markdown(table)), ("tex", latex(table))):
        write_durably(folder / f"{stem}.{ending}", text.encode())


def as_csv(table: Table) -> str:
    """Plain numbers with 6 significant digits; a missing one is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["group", "row", "source", *table.columns, "low", "high"])
    for line in table.lines:
        numbers = (*line.values, line.low, line.high)
        cells = ["" if math.isnan(value) else f"{value:.6g}" for value in numbers]
        writer.writerow([line.group, line.title, line.source, *cells])
    return text.getvalue()


def markdown(table: Table) -> str:
    """A table of GitHub's Markdown; rows of the paper are in italics."""
    head = ["", "", *table.columns, *(["95 %"] if table.bounded else [])]
    rows = ["| " + " | ".join(head) + " |", "|---|---|" + "---:|" * (len(head) - 2)]
    for group, line in _grouped(table.lines):
        title = f"*{line.title} (paper)*" if line.source == "paper" else line.title
        rows.append("| " + " | ".join([group, title, *_cells(table, line)]) + " |")
    return "\n".join([table.caption, "", *rows, ""])


def latex(table: Table) -> str:
    """A table for the package booktabs."""
    heads = [*map(_escaped, table.columns), *([r"95\,\%"] if table.bounded else [])]
    columns, head = "ll" + "r" * len(heads), " & ".join(["", "", *heads])
    rows: list[str] = []
    for group, line in _grouped(table.lines):
        if group and rows:
            rows.append(r"\midrule")
        title = _escaped(line.title)
        if line.source == "paper":
            title = rf"\textit{{{title} (paper)}}"
        rows.append(" & ".join([group, title, *_cells(table, line)]) + r" \\")
    return "\n".join(
        [
            r"\begin{table}\centering",
            rf"\caption{{{_escaped(table.caption)}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            head + r" \\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}\end{table}",
            "",
        ]
    )


def _grouped(lines: Sequence[Line]) -> list[tuple[str, Line]]:
    """Each line, with its group's name if the line before is of another group."""
    before = ["", *(line.group for line in lines)]
    return [
        ("" if b == line.group else line.group, line)
        for b, line in zip(before, lines, strict=False)
    ]


def _cells(table: Table, line: Line) -> list[str]:
    def number(value: float) -> str:
        if math.isnan(value):
            return "-"
        return f"{100 * value:.1f}" if table.percent else f"{value:.4g}"

    interval = "" if math.isnan(line.low) else f"{number(line.low)}..{number(line.high)}"
    return [*map(number, line.values), *([interval] if table.bounded else [])]


def _escaped(text: str) -> str:
    for mark in "%&_#":
        text = text.replace(mark, f"\\{mark}")
    return text
