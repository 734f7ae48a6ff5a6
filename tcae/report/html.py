"""The report of a run: one HTML file that needs no other file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcae.data.action_units import with_words
from tcae.evaluation.disentanglement import GOALS
from tcae.evaluation.estimates import Estimate, flat
from tcae.report.charts import Points, histogram, line_chart
from tcae.report.goals import goal_rows, verdict
from tcae.report.page import page, picture_address
from tcae.report.panels import colour_wheel, explanation

Picture = NDArray[np.uint8]

_WORDS = {
    "au": "AU",
    "auc": "AUC",
    "f1": "F1",
    "high": "(upper bound)",
    "l1": "L1",
    "low": "(lower bound)",
    "mb": "(MB)",
    "r2": "R²",
    "recon": "reconstruction",
    "val": "validation",
}
_TITLES = {
    "rec": "reconstruction loss",
    "sparsity": "sparsity loss",
    "contrast": "contrast loss",
    "transfer": "transfer loss",
    "cycle_au": "AU cycle loss",
    "cycle_pose": "pose cycle loss",
    **{
        f"emb_{face}_{symbol}": f"{embedding} embedding of the {words}, distance"
        for face, words in (
            ("au", "AU-changed face"),
            ("pose", "pose-changed face"),
            ("rec", "reconstruction"),
        )
        for symbol, embedding in (("phi", "AU"), ("psi", "pose"))
    },
    "identity_l1": "L1 of the unmoved source",
    "au_flow": "AU flow, mean length",
    "pose_flow": "pose flow, mean length",
    "gradient_norm": "length of the gradient",
    "update_norm": "length of an update of the weights",
    "data_wait_share": "share of the time waiting for data",
    "probe_auc": "AUC of the probe at the last validation",
    "au_f1": "action units, mean F1",
}
_SHOWN_FIRST = 4  # pairs

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class RunReport:
    """What the report of a run shows. Empty parts are left out.

    Attributes:
        title: Name of the run.
        about: A line under it.
        measures: What was measured, by name.
        numbers: Other figures of the run.
        pairs: For each pair, pictures (S, S, 3) uint8 by what they show.
        pairs_of: Whose pairs these are; it stands over them.
        lengths: Mean displacement length of each pair, by kind of flow.
        units: Rows of `tcae.evaluation.results.rows`, one per action unit.
        curves: Title -> name -> (step, value) points.
        config: The configuration as text.
    """

    title: str
    about: str
    measures: Mapping[str, Estimate]
    numbers: Mapping[str, float] = field(default_factory=dict)
    pairs: Sequence[Mapping[str, Picture]] = ()
    pairs_of: str = "Pairs"
    lengths: Mapping[str, Sequence[float]] = field(default_factory=dict)
    units: Rows = ()
    curves: Mapping[str, Mapping[str, Points]] = field(default_factory=dict)
    config: str = ""


def render_report(report: RunReport) -> str:
    """Return the page. It loads nothing from anywhere."""
    sections = {
        "What is told apart": _measures(report.measures),
        "Action units": _units(report.units),
        report.pairs_of: _pairs(report.pairs),
        "Mean displacement lengths": _lengths(report),
        "Learning curves": _curves(report.curves),
        "The run in numbers": _numbers(report),
        "Configuration": _folded(report.config),
    }
    words = verdict(report.measures)
    body = [
        f"<header><h1>{escape(report.title)}</h1>",
        f'<p class="verdict">{escape(words)}</p>' if words else "",
        f'<p class="dim">{escape(report.about)}</p></header>',
        *(
            f'<section class="card"><h2>{escape(name)}</h2>{html}</section>'
            for name, html in sections.items()
            if html
        ),
    ]
    return page(report.title, "\n".join(body), ["run_page.css"])


def _measures(measures: Mapping[str, Estimate]) -> str:
    rows = []
    for row in goal_rows(measures):
        mark = {True: "✓ ", False: "✗ ", None: ""}[row.reached]
        told = f'<b class="{"yes" if row.reached else "no"}">{mark}{row.verdict}</b>'
        cells = [row.measured, row.interval, escape(row.wanted), told if mark else ""]
        rows.append([escape(row.title), *cells])
    return _table(["measure", "measured", "95 %", "goal", ""], rows)


def _pairs(pairs: Sequence[Mapping[str, Picture]]) -> str:
    if not pairs:
        return ""
    blocks = [f'<div class="pair">{_pair(pair)}</div>' for pair in pairs]
    first, others = (f'<div class="pairs">{"".join(part)}</div>' for part in
                     (blocks[:_SHOWN_FIRST], blocks[_SHOWN_FIRST:]))  # fmt: skip
    more = f"<details><summary>{len(blocks) - _SHOWN_FIRST} more</summary>{others}</details>"
    note = f'<p class="dim">{escape(explanation(pairs[0]))}</p>'
    return f"{note}{first}{more if len(blocks) > _SHOWN_FIRST else ''}"


def _pair(pair: Mapping[str, Picture]) -> str:
    """Return the pictures of a pair in three groups, whose name the captions need not repeat."""
    groups: dict[str, list[str]] = {"the pair": [], "AU": [], "pose": []}
    for name, picture in pair.items():
        group = next((word for word in ("AU", "pose") if word in name.split()), "the pair")
        caption = name.replace(f"{group} ", "")
        groups[group].append(_figure(caption, f"{group}: {caption}", picture))
    groups["the pair"].append(_figure("key to flows", "key to flows", colour_wheel(64), "key"))
    columns = max(map(len, groups.values()))
    return "".join(
        f'<h3>{group}</h3><div class="group" style="--columns:{columns}">{"".join(figures)}</div>'
        for group, figures in groups.items()
        if figures
    )


def _figure(caption: str, about: str, picture: Picture, kind: str = "") -> str:
    return (
        f'<figure class="{kind}"><img alt="{escape(about)}" src="{picture_address(picture)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _lengths(report: RunReport) -> str:
    if not report.lengths:
        return ""
    chart = histogram("share of pairs by mean length", report.lengths)
    ratios = [
        f"{words} {report.measures[name].value:.2f}"
        for name, words in (
            ("flow_length_ratio", "Pose flow over AU flow:"),
            ("flow_length_ratio_true", "in truth:"),
        )
        if name in report.measures
    ]
    words = "; ".join([*ratios, "half the picture is 1."])
    return f'<p class="dim">{escape(words)}</p><div class="charts">{chart}</div>'


def _units(rows: Rows) -> str:
    def number(row: Mapping[str, Any], *names: str) -> str:
        known = [float(row[name]) for name in names]
        return "–" if np.isnan(known).any() else " to ".join(f"{value:.3f}" for value in known)

    lines = []
    for row in rows:
        names = (("prevalence",), ("f1",), ("f1_low", "f1_high"), ("auc",), ("auc_low", "auc_high"))
        cells = [number(row, *group) for group in names] + [_range(row)]
        lines.append([escape(with_words(str(row["unit"]))), *cells])
    return _table(["unit", "share", "F1", "95 %", "AUC", "95 %", "AUC from .5 to 1"], lines)


def _range(row: Mapping[str, Any]) -> str:
    """Return the AUC of a unit and its interval as a bar from .5 to 1."""
    value, low, high = (
        min(max(200 * (float(row[name]) - 0.5), 0), 100) for name in ("auc", "auc_low", "auc_high")
    )
    if np.isnan([value, low, high]).any():
        return ""
    band = f'<i style="left:{low:.1f}%;width:{high - low:.1f}%"></i>'
    return f'<span class="range">{band}<b style="left:{value:.1f}%"></b></span>'


def _curves(curves: Mapping[str, Mapping[str, Points]]) -> str:
    charts = [line_chart(title, lines) for title, lines in curves.items()]
    content = "".join(chart for chart in charts if chart)
    return f'<div class="charts">{content}</div>' if content else ""


def _numbers(report: RunReport) -> str:
    others = {name: value for name, value in report.measures.items() if name not in GOALS}
    numbers = {**report.numbers, **flat(others)}
    rows = "".join(
        f"<div><span>{escape(in_plain_words(name))}</span><span>{_number(value)}</span></div>"
        for name, value in numbers.items()
    )
    return f'<div class="numbers">{rows}</div>' if rows else ""


def in_plain_words(key: str) -> str:
    """Return what a key of the run's files means.

    Example:
        >>> in_plain_words("best_val_loss"), in_plain_words("cycle_au")
        ('best validation loss', 'AU cycle loss')
    """
    return _TITLES.get(key) or " ".join(_WORDS.get(part, part) for part in key.split("_"))


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:,.5g}"


def _folded(text: str) -> str:
    if not text:
        return ""
    return f"<details><summary>config.yaml</summary><pre>{escape(text)}</pre></details>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of HTML cells. On a phone each names its column, and the head is hidden."""
    if not rows:
        return ""
    titles = "".join(f"<th>{escape(title)}</th>" for title in head)
    lines = "".join(f"<tr>{''.join(map(_cell, head, row))}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{titles}</tr></thead>{lines}</table></div>'


def _cell(title: str, content: str) -> str:
    return f'<td data-title="{escape(title)}">{content}</td>'
