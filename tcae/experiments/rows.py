"""The rows of the tables: every method of ours beside the paper's own figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tcae.evaluation.metrics import Scores
from tcae.experiments.judging import Result
from tcae.experiments.plan import Entry
from tcae.experiments.published import PUBLISHED, Row
from tcae.experiments.tables import Line, Table
from tcae.methods.method import Family

FAMILIES: tuple[Family, ...] = ("descriptor", "supervised", "self-supervised")
"""In the order of the paper's tables."""


def score_tables(
    name: str,
    units: Sequence[int],
    entries: Mapping[str, Entry],
    results: Mapping[str, Result],
    caption: str,
) -> dict[str, Table]:
    """The tables "f1" and "auc" of a data set.

    Args:
        name: Of the data set: it decides which figures of the paper stand beside ours.
        units: Numbers of the action units, in order.
        entries: Title and family of every method by name, in order.
        results: What was found, by the same names.
        caption: What is said of both tables.
    """
    columns = (*(str(unit) for unit in units), "ave")
    scores = next(iter(results.values())).scores
    published = PUBLISHED.get(name, ())
    f1 = [
        _always(scores),
        *_lines(entries, published, lambda n: _line(entries[n], results[n], "f1")),
    ]
    auc = _lines(entries, (), lambda n: _line(entries[n], results[n], "auc"))
    return {
        "f1": Table(f"F1 x 100 at threshold .5, {caption}", columns, tuple(f1)),
        "auc": Table(f"ROC AUC x 100, {caption}", columns, tuple(auc)),
    }


def _always(scores: Scores) -> Line:
    """What calling every frame positive would give: 2 p / (1 + p) for a prevalence p."""
    f1 = 2 * scores.prevalence / (1 + scores.prevalence)
    f1 = np.where(np.isnan(scores.f1), np.nan, f1)
    mean = float(np.nanmean(f1)) if np.isfinite(f1).any() else math.nan
    return Line("always present", "baseline", (*map(float, f1), mean))


def _line(entry: Entry, result: Result, score: str) -> Line:
    title, family = entry
    values = getattr(result.scores, score)
    mean = getattr(result.scores, f"{score}_mean")
    interval = getattr(result, score)
    ends = interval.mean_low, interval.mean_high
    return Line(title, family, (*map(float, values), mean), "ours", *ends)


def _lines(
    entries: Mapping[str, Entry], published: Sequence[Row], ours: Callable[[str], Line]
) -> list[Line]:
    """Families in order; in each, rows without a counterpart first, then those of the paper."""
    lines = []
    for family in FAMILIES:
        papers = [row for row in published if row.family == family]
        matched = [row.method for row in papers]
        mine = [name for name, (_, kind) in entries.items() if kind == family]
        lines += [ours(name) for name in mine if name not in matched]
        for row in papers:
            if row.method is not None and row.method in mine:
                lines.append(ours(row.method))
            lines.append(_paper(row))
    return lines


def _paper(row: Row) -> Line:
    values = [math.nan if value is None else value / 100 for value in (*row.values, row.mean)]
    return Line(row.title, row.family, tuple(values), "paper")
