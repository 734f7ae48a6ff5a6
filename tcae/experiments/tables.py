"""Tables as CSV for computing, Markdown for reading and LaTeX for printing."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tcae.files.durable import write_durably


@dataclass(frozen=True)
class TableRow:
    """One row of a table.

    Attributes:
        title: The name of the row.
        group: The name of its group. Rows of one group stand together.
        values: A value for each column, NaN if there is none.
        source: "ours" or "paper".
        low: Lower end of the interval of the last value, NaN if there is none.
        high: Upper end of that interval.
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
        rows: Its rows, in order.
        percent: Whether values are shares, which are shown times 100 as in the paper.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]
    percent: bool = True

    @property
    def bounded(self) -> bool:
        """Return whether any row has an interval."""
        return any(not math.isnan(row.low) for row in self.rows)


def write_table(folder: Path, stem: str, table: Table) -> None:
    """Write ``stem.csv``, ``stem.md`` and ``stem.tex``."""
    folder.mkdir(parents=True, exist_ok=True)
    for ending, text in (("csv", as_csv(table)), ("md", markdown(table)), ("tex", latex(table))):
        write_durably(folder / f"{stem}.{ending}", text.encode())


def as_csv(table: Table) -> str:
    """Write a table as CSV: numbers with 6 significant digits, missing ones empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["group", "row", "source", *table.columns, "low", "high"])
    for row in table.rows:
        numbers = (*row.values, row.low, row.high)
        cells = ["" if math.isnan(value) else f"{value:.6g}" for value in numbers]
        writer.writerow([row.group, row.title, row.source, *cells])
    return text.getvalue()


def markdown(table: Table) -> str:
    """Write a table in GitHub's Markdown, with the paper's rows in italics."""
    head = ["", "", *table.columns, *(["95 %"] if table.bounded else [])]
    lines = ["| " + " | ".join(head) + " |", "|---|---|" + "---:|" * (len(head) - 2)]
    for group, row in _with_group_names(table.rows):
        title = f"*{row.title} (paper)*" if row.source == "paper" else row.title
        lines.append("| " + " | ".join([group, title, *_cells(table, row)]) + " |")
    return "\n".join([table.caption, "", *lines, ""])


def latex(table: Table) -> str:
    """Write a table in LaTeX for the package booktabs."""
    heads = [*map(_escaped, table.columns), *([r"95\,\%"] if table.bounded else [])]
    columns, head = "ll" + "r" * len(heads), " & ".join(["", "", *heads])
    lines: list[str] = []
    for group, row in _with_group_names(table.rows):
        if group and lines:
            lines.append(r"\midrule")
        title = _escaped(row.title)
        if row.source == "paper":
            title = rf"\textit{{{title} (paper)}}"
        lines.append(" & ".join([group, title, *_cells(table, row)]) + r" \\")
    return "\n".join(
        [
            r"\begin{table}\centering",
            rf"\caption{{{_escaped(table.caption)}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            head + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}\end{table}",
            "",
        ]
    )


def _with_group_names(rows: Sequence[TableRow]) -> list[tuple[str, TableRow]]:
    """Pair each row with the name of its group, or with "" if the row before is of the same."""
    before = ["", *(row.group for row in rows)]
    return [
        ("" if group == row.group else row.group, row)
        for group, row in zip(before, rows, strict=False)
    ]


def _cells(table: Table, row: TableRow) -> list[str]:
    def number(value: float) -> str:
        if math.isnan(value):
            return "-"
        return f"{100 * value:.1f}" if table.percent else f"{value:.4g}"

    interval = "" if math.isnan(row.low) else f"{number(row.low)}..{number(row.high)}"
    return [*map(number, row.values), *([interval] if table.bounded else [])]


def _escaped(text: str) -> str:
    for mark in "%&_#":
        text = text.replace(mark, f"\\{mark}")
    return text
