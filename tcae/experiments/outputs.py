"""The tables and curves of a finished experiment, from the files that its stages wrote."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tcae.data.labels import with_units
from tcae.evaluation.labelled_frames import LabelledFrames
from tcae.experiments.figures import few_label_chart, length_table
from tcae.experiments.plan import Plan, load_json
from tcae.experiments.score_tables import score_tables
from tcae.experiments.scores import scores_of
from tcae.experiments.tables import Table, TableRow, write_table

SHARES = (0.01, 0.05, 0.2, 1.0)
"""Shares of the training subjects in the curves of few labels."""


def write_outputs(plan: Plan) -> None:
    """Write all tables of an experiment, and its curves of few labels."""
    for stem, table in _tables(plan).items():
        write_table(plan.tables, stem, table)
    curves = {
        title: [(100 * s, v) for s, v in zip(SHARES, load_json(plan.few_labels(name)), strict=True)]
        for name, (title, family) in plan.probed.items()
        if family == "self-supervised"
    }
    if curves:
        few_label_chart(plan.figure("few_labels.svg"), curves)


def _tables(plan: Plan) -> dict[str, Table]:
    labelled, seed = plan.labelled, plan.config.seed
    results = {n: scores_of(labelled, np.load(plan.predictions(n)), seed) for n in plan.entries}
    about = f"{plan.name}: {_size(labelled)}, {int(labelled.folds.max()) + 1} folds"
    tables = score_tables(plan.name, labelled.units, plan.entries, results, about)
    if plan.probed:
        tables["few_labels"] = _few_labels(plan)
    if plan.transfer is not None and plan.probed:
        tables |= _transfer(plan, plan.transfer)
    if plan.cycle_run is not None:
        lengths = load_json(plan.figure("figure5.json"))
        tables["figure5"] = length_table({name: np.array(v) for name, v in lengths.items()})
    if plan.variants:
        tables["ablation"] = _ablation(plan)
    return tables


def _few_labels(plan: Plan) -> Table:
    rows = [
        TableRow(title, family, tuple(load_json(plan.few_labels(name))))
        for name, (title, family) in plan.probed.items()
    ]
    columns = tuple(f"{100 * share:g} %" for share in SHARES)
    caption = "Mean ROC AUC x 100 of probes that learn from a share of the subjects"
    return Table(caption, columns, tuple(rows))


def _transfer(plan: Plan, other: LabelledFrames) -> dict[str, Table]:
    units = [unit for unit in plan.labelled.units if unit in other.units]
    shared = replace(other, labels=with_units(other.labels, units))
    seed = plan.config.seed
    results = {n: scores_of(shared, np.load(plan.transferred(n)), seed) for n in plan.probed}
    about = f"probes of {plan.name} on another data set: {_size(other)}"
    tables = score_tables("", units, plan.probed, results, about)
    return {f"transfer_{stem}": table for stem, table in tables.items()}


def _ablation(plan: Plan) -> Table:
    rows = []
    for name, variant in plan.variants.items():
        measures = load_json(plan.ablated(name))
        keys = ("f1", "recon_ratio", "au_flow", "pose_flow", "steps", "auc")
        values = tuple(float(measures[key]) for key in keys)
        ends = measures["low"], measures["high"]
        rows.append(TableRow(variant.title, "", values, "ours", *ends))
    columns = ("F1", "L1 ratio", "AU flow", "pose flow", "steps", "AUC")
    side = plan.ablation_size
    caption = f"TCAE at {side}x{side} without each of its parts; the interval is that of the AUC"
    return Table(caption, columns, tuple(rows), percent=False)


def _size(labelled: LabelledFrames) -> str:
    people = len(set(labelled.labels.subjects))
    return f"{len(labelled.labels.frame_index)} frames of {people} subjects"
