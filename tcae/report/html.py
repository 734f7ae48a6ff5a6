"""The report of a run: one HTML file that needs no other file."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tcae.evaluation.disentanglement import GOALS
from tcae.evaluation.estimates import Estimate, flat
from tcae.report.charts import Points, histogram, line_chart
from tcae.report.goals import goal_rows

_STYLE = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:1180px;margin:0 auto;padding:12px}
h1{font-size:1.5rem;margin:.3em 0}h2{font-size:1.2rem;margin:1.6em 0 .4em}
p{color:GrayText;margin:.3em 0;overflow-wrap:anywhere}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
td,th{padding:3px 10px 3px 0;text-align:right;border-bottom:1px solid #8884}
td:first-child,th:first-child,td.words{text-align:left}
@media(max-width:600px){table{font-size:.78rem}td,th{padding-right:5px}}
.yes{color:#087a3c}.no{color:#c0392b}
.pair{display:grid;grid-template-columns:repeat(auto-fill,minmax(78px,1fr));gap:4px;
border-top:1px solid #8884;padding:6px 0}
figure{margin:0}figcaption{font-size:.72rem;line-height:1.2;color:GrayText}
img{width:100%;display:block;border-radius:3px}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(300px,1fr));gap:12px}
svg{width:100%;height:auto;font:11px system-ui,sans-serif;fill:currentColor}
pre{overflow-x:auto;font-size:.75rem;white-space:pre-wrap;overflow-wrap:anywhere}
"""

Picture = NDArray[np.uint8]
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
        flow_unit: A line about the colours of flows.
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
    flow_unit: str = ""
    lengths: Mapping[str, Sequence[float]] = field(default_factory=dict)
    units: Rows = ()
    curves: Mapping[str, Mapping[str, Points]] = field(default_factory=dict)
    config: str = ""


def render_report(report: RunReport) -> str:
    """Return the page. It loads nothing from anywhere."""
    sections = {
        "What is told apart": _measures(report.measures),
        "Pairs of people never seen": _pairs(report),
        "Mean displacement lengths": _lengths(report),
        "Action units": _units(report.units),
        "Learning curves": _curves(report.curves),
        "The run in numbers": _numbers(report),
        "Configuration": f"<pre>{escape(report.config)}</pre>" if report.config else "",
    }
    body = [f"<section><h2>{name}</h2>{html}</section>" for name, html in sections.items() if html]
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width,initial-scale=1">',
            f"<title>{escape(report.title)}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{escape(report.title)}</h1><p>{escape(report.about)}</p>",
            *body,
            "</body></html>\n",
        ]
    )


def _measures(measures: Mapping[str, Estimate]) -> str:
    rows = []
    for row in goal_rows(measures):
        verdict = row.verdict
        if verdict:
            verdict = f'<b class="{"yes" if row.reached else "no"}">{verdict}</b>'
        cells = [row.measured, row.interval, escape(row.wanted), verdict]
        tail = "".join(f"<td>{cell}</td>" for cell in cells)
        rows.append(f'<tr><td class="words">{escape(row.title)}</td>{tail}</tr>')
    return _table(["measure", "measured", "95 %", "goal", ""], rows)


def _pairs(report: RunReport) -> str:
    blocks = [
        f'<div class="pair">{"".join(_figure(*item) for item in pair.items())}</div>'
        for pair in report.pairs
    ]
    return f"<p>{escape(report.flow_unit)}</p>{''.join(blocks)}" if blocks else ""


def _figure(name: str, picture: Picture) -> str:
    encoded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes()
    data = base64.b64encode(encoded).decode()
    return (
        f'<figure><img alt="{escape(name)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(name)}</figcaption></figure>"
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
    return f'<p>{escape(words)}</p><div class="charts">{chart}</div>'


def _units(rows: Rows) -> str:
    def number(row: Mapping[str, Any], *names: str) -> str:
        known = [float(row[name]) for name in names]
        return "–" if np.isnan(known).any() else " to ".join(f"{value:.3f}" for value in known)

    lines = []
    for row in rows:
        names = (("prevalence",), ("f1",), ("f1_low", "f1_high"), ("auc",), ("auc_low", "auc_high"))
        cells = [number(row, *group) for group in names]
        tail = "".join(f"<td>{cell}</td>" for cell in cells)
        lines.append(f"<tr><td>{escape(str(row['unit']))}</td>{tail}</tr>")
    return _table(["unit", "share", "F1", "95 %", "AUC", "95 %"], lines)


def _curves(curves: Mapping[str, Mapping[str, Points]]) -> str:
    charts = [line_chart(title, lines) for title, lines in curves.items()]
    content = "".join(chart for chart in charts if chart)
    return f'<div class="charts">{content}</div>' if content else ""


def _numbers(report: RunReport) -> str:
    others = {name: value for name, value in report.measures.items() if name not in GOALS}
    numbers = {**report.numbers, **flat(others)}
    rows = [f"<tr><td>{escape(k)}</td><td>{v:,.5g}</td></tr>" for k, v in numbers.items()]
    return _table(["", ""], rows)


def _table(head: Sequence[str], rows: Sequence[str]) -> str:
    if not rows:
        return ""
    titles = "".join(f"<th>{escape(title)}</th>" for title in head)
    return f'<div class="wide"><table><tr>{titles}</tr>{"".join(rows)}</table></div>'
