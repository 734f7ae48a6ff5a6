"""The tables of scores: every method of ours beside the figures of the paper."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tcae.evaluation.metrics import Scores
from tcae.experiments.plan import Entry
from tcae.experiments.published import PUBLISHED, Row
from tcae.experiments.scores import Result
from tcae.experiments.tables import Table, TableRow
from tcae.methods.method import Family

FAMILIES: tuple[Family, ...] = ("descriptor", "supervised", "self-supervised")
"""The groups of the tables, in the order of the paper's."""


def score_tables(
    name: str,
    units: Sequence[int],
    entries: Mapping[str, Entry],
    results: Mapping[str, Result],
    caption: str,
) -> dict[str, Table]:
    """Make the tables "f1" and "auc" of a data set.

    Args:
        name: Name of the data set, for the figures of the paper beside ours.
        units: Numbers of the action units, in order.
        entries: Title and family of every method by name, in order.
        results: Scores of every method by name.
        caption: The last part of both captions.
    """
    columns = (*(str(unit) for unit in units), "ave")
    scores = next(iter(results.values())).scores
    published = PUBLISHED.get(name, ())
    f1 = [
        _always_present(scores),
        *_rows(entries, published, lambda n: _our_row(entries[n], results[n], "f1")),
    ]
    auc = _rows(entries, (), lambda n: _our_row(entries[n], results[n], "auc"))
    return {
        "f1": Table(f"F1 x 100 at threshold .5, {caption}", columns, tuple(f1)),
        "auc": Table(f"ROC AUC x 100, {caption}", columns, tuple(auc)),
    }


def _always_present(scores: Scores) -> TableRow:
    """Return the F1 of calling every frame positive: 2 p / (1 + p) for a prevalence p."""
    f1 = 2 * scores.prevalence / (1 + scores.prevalence)
    f1 = np.where(np.isnan(scores.f1), np.nan, f1)
    mean = float(np.nanmean(f1)) if np.isfinite(f1).any() else math.nan
    return TableRow("always present", "baseline", (*map(float, f1), mean))


def _our_row(entry: Entry, result: Result, score: str) -> TableRow:
    title, family = entry
    values = getattr(result.scores, score)
    mean = getattr(result.scores, f"{score}_mean")
    interval = getattr(result, score)
    ends = interval.mean_low, interval.mean_high
    return TableRow(title, family, (*map(float, values), mean), "ours", *ends)


def _rows(
    entries: Mapping[str, Entry], published: Sequence[Row], ours: Callable[[str], TableRow]
) -> list[TableRow]:
    """Order rows by family. In each, ours that the paper lacks come first, then the paper's rows.

    A row of ours that the paper has too stands just before it.
    """
    rows = []
    for family in FAMILIES:
        papers = [row for row in published if row.family == family]
        matched = [row.method for row in papers]
        mine = [name for name, (_, kind) in entries.items() if kind == family]
        rows += [ours(name) for name in mine if name not in matched]
        for paper in papers:
            if paper.method is not None and paper.method in mine:
                rows.append(ours(paper.method))
            rows.append(_paper_row(paper))
    return rows


def _paper_row(paper: Row) -> TableRow:
    values = [math.nan if value is None else value / 100 for value in (*paper.values, paper.mean)]
    return TableRow(paper.title, paper.family, tuple(values), "paper")
