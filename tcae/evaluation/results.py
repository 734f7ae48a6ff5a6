"""Probe results as a table to read, files to compute with, and numbers to compare."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tcae.data.action_units import with_words
from tcae.data.shards import PackedDataset
from tcae.evaluation.folds import TRAIN_ONLY
from tcae.evaluation.linear_probe import PROBE_FILE, save_probe
from tcae.evaluation.protocol import ProbeResults
from tcae.files.durable import write_csv, write_durably

_COLUMNS = (
    *("unit", "frames", "prevalence"),
    *("f1", "f1_low", "f1_high", "auc", "auc_low", "auc_high", "f1_always"),
)


def rows(results: ProbeResults) -> list[dict[str, float | str]]:
    """Return one row per action unit and a last one, ``mean``, of the units that have scores.

    Columns: ``unit, frames`` (known labels), ``prevalence`` (share of positives), ``f1`` and
    ``auc`` with the bounds of their 95 % interval, and ``f1_always``. The last one is the F1 of
    calling every frame positive, 2 p / (1 + p), with which an F1 has to be compared.
    """
    scores, f1, auc = results.scores, results.f1_interval, results.auc_interval
    always = 2 * scores.prevalence / (1 + scores.prevalence)
    table = np.column_stack(
        [
            *(scores.frames, scores.prevalence),
            *(scores.f1, f1.low, f1.high, scores.auc, auc.low, auc.high, always),
        ]
    )
    scored = ~np.isnan(scores.f1)
    mean = np.full(table.shape[1], np.nan)
    mean[[2, 5]] = scores.f1_mean, scores.auc_mean
    mean[[3, 4, 6, 7]] = f1.mean_low, f1.mean_high, auc.mean_low, auc.mean_high
    if scored.any():
        mean[[0, 1, 8]] = table[scored][:, [0, 1, 8]].mean(axis=0)
    names = [*results.labels.names, "mean"]
    return [
        dict(zip(_COLUMNS, [name, *map(float, row)], strict=True))
        for name, row in zip(names, [*table, mean], strict=True)
    ]


def text_table(results: ProbeResults) -> str:
    """Return the rows as aligned text, with a dash where there is no score."""
    cells = [
        ["", "frames", "prevalence", "F1", "95 %", "AUC", "95 %", "F1 always-on"],
        *(_text_row(row) for row in rows(results)),
    ]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in cells
    ]
    rule = "-" * max(map(len, lines))
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def summary(results: ProbeResults) -> dict[str, float]:
    """Return flat numbers, ``f1_mean``, ``auc_mean``, ``f1_AU12`` ..., without missing scores."""
    numbers: dict[str, float] = {
        "frames": len(results.labels.frame_index),
        "frames_tested": int((results.fold != TRAIN_ONLY).sum()),
        "frames_failed": len(results.failures),
        "subjects": len(set(results.labels.subjects)),
        "folds": int(results.fold.max()) + 1,
        "units_scored": int((~np.isnan(results.scores.f1)).sum()),
    }
    for row in rows(results):
        for column in _COLUMNS[2:]:
            value = float(row[column])
            if not np.isnan(value):
                numbers[_key(column, str(row["unit"]))] = value
    return numbers


def write_results(directory: Path, results: ProbeResults, dataset: PackedDataset) -> None:
    """Write ``results.csv``, ``predictions.csv``, ``summary.json`` and the probe."""
    table = rows(results)
    cells = [[_cell(value) for value in row.values()] for row in table]
    write_csv(directory / "results.csv", [_COLUMNS, *cells])
    labels = results.labels
    scores = [f"{name}_score" for name in labels.names]
    header = ["frame", "subject", "fold", *labels.names, *scores]
    predictions = (
        [dataset.name(int(frame)), subject, int(fold), *map(_cell, truth), *map(_cell, values)]
        for frame, subject, fold, truth, values in zip(
            labels.frame_index,
            labels.subjects,
            results.fold,
            labels.values,
            results.predicted,
            strict=True,
        )
    )
    write_csv(directory / "predictions.csv", [header, *predictions])
    save_probe(directory / PROBE_FILE, results.probe)
    text = json.dumps(summary(results), indent=1) + "\n"
    write_durably(directory / "summary.json", text.encode())


def _text_row(row: dict[str, float | str]) -> list[str]:
    def number(column: str) -> str:
        value = float(row[column])
        return "-" if np.isnan(value) else f"{value:.3f}"

    def interval(name: str) -> str:
        low, high = number(f"{name}_low"), number(f"{name}_high")
        return "-" if low == "-" else f"{low}..{high}"

    frames = float(row["frames"])
    return [
        with_words(str(row["unit"])),
        "-" if np.isnan(frames) else f"{frames:.0f}",
        *(number("prevalence"), number("f1"), interval("f1")),
        *(number("auc"), interval("auc"), number("f1_always")),
    ]


def _key(column: str, unit: str) -> str:
    """Name ``f1_low`` of AU12 ``f1_AU12_low``, so that all numbers of a score sort together."""
    score, _, bound = column.partition("_")
    return f"{score}_{unit}_{bound}" if bound else f"{score}_{unit}"


def _cell(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return "" if np.isnan(value) else f"{value:.7g}"
