"""What a finished run is judged by: measures on people it has not seen, and the report."""

from __future__ import annotations

import json

import numpy as np
import torch
from numpy.typing import NDArray

from tcae.data.labels import LABELS, LabelTable, read_labels
from tcae.data.splits import split_of
from tcae.evaluation.disentanglement import pair_measures, pair_values
from tcae.evaluation.estimates import Estimate
from tcae.evaluation.protocol import select
from tcae.evaluation.results import write_results
from tcae.evaluation.unseen import prediction_of
from tcae.files.durable import write_durably
from tcae.measuring.people import (
    CACHE,
    SHOWN,
    Labelled,
    Outcome,
    measure_flows,
    probe_frames,
    rendered_people,
)
from tcae.measuring.shared_embedding import Embed
from tcae.measuring.trained import Trained, fabnet_of, rendered_world
from tcae.models.encoder_file import load_encoder
from tcae.models.twin_cycle import unit_range
from tcae.report.html import RunReport, render_report
from tcae.report.panels import FLOW_NOTE
from tcae.training.config import describe, versions
from tcae.training.logbook import METRICS_FILE
from tcae.training.run_directory import PROBE, REPORT_FILE
from tcae.training.trainer import Trainer


def judge(trainer: Trainer, embed: Embed) -> Outcome:
    """Measure a trained model, write the probe's results and the report.

    Rendered data: on other people of the same world. Labelled data: the action units of the people
    that were not trained on. Any data: the flows between validation pairs.

    Args:
        trainer: It has done its last step.
        embed: Embeds the frames that are probed.

    Raises:
        ValueError: The labels cannot be used.
    """
    trained = Trained(
        trainer.objective.eval(),
        load_encoder(trainer.run, trainer.device),
        trainer.config,
        rendered_world(trainer.dataset.path),
        fabnet_of(trainer.run, trainer.device),
    )
    outcome = Outcome()
    if trained.world is None:
        _measure_validation(trainer, outcome)
    else:
        measure_flows(trained, trained.world, outcome)
    try:
        labelled = _labelled(trainer, trained)
        if labelled is not None:
            results = probe_frames(trained, labelled, outcome, embed)
            (trainer.run / PROBE).mkdir(exist_ok=True)
            write_results(trainer.run / PROBE, results, labelled.dataset)
    finally:
        _write_report(trainer, outcome)
    return outcome


def _measure_validation(trainer: Trainer, outcome: Outcome) -> None:
    """Measure flows and pictures where their truth is not known."""
    objective, parts = trainer.objective, []
    for source, target in trainer.validation.pairs():
        pictures = objective.pictures(source, target)
        parts.append(pair_values(_unit(source), _unit(target), prediction_of(pictures), None))
    values = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    measures = pair_measures(values, [str(i) for i in range(len(values["recon"]))])
    outcome.add({name: Estimate(measure.value) for name, measure in measures.items()})
    outcome.show(objective, *trainer.validation.example(SHOWN), values, None)


def _labelled(trainer: Trainer, trained: Trained) -> Labelled | None:
    """Who is probed, None if of nobody anything is known."""
    if trained.world is not None:
        return rendered_people(trained, trained.world, trainer.run.parent / CACHE)
    dataset = trainer.dataset
    if (dataset.path / LABELS).exists() and trainer.config.pairs.split == "identity":
        return Labelled(dataset, _not_trained_on(trainer), None)
    return None


def _not_trained_on(trainer: Trainer) -> LabelTable:
    dataset, seed = trainer.dataset, trainer.config.pairs.split_seed
    labels = read_labels(dataset.path / LABELS, dataset)
    splits = [split_of(dataset.identity(int(i)), seed) for i in labels.frame_index]
    return select(labels, np.array([split != "train" for split in splits]))


_CURVES = {
    "validation loss": {"loss": "loss"},
    "reconstruction / unmoved source": {"L1 ratio": "recon_ratio"},
    "mean flow length": {"AU": "au_flow", "pose": "pose_flow"},
    "embedding variance": {"AU": "au_variance", "pose": "pose_variance"},
    "effective rank": {"AU": "au_effective_rank", "pose": "pose_effective_rank"},
}


def _write_report(trainer: Trainer, outcome: Outcome) -> None:
    lines = [
        line
        for text in (trainer.run / METRICS_FILE).read_text().splitlines()
        if (line := json.loads(text))["kind"] == "val"
    ]
    curves = {
        title: {
            name: [(line["step"], v) for line in lines if (v := line.get(key)) is not None]
            for name, key in names.items()
        }
        for title, names in _CURVES.items()
    }
    report = RunReport(
        title=trainer.run.name,
        about=", ".join(f"{name} {value}" for name, value in versions().items()),
        summary=trainer.summary() | outcome.figures,
        pairs=outcome.pairs,
        flow_unit=FLOW_NOTE,
        lengths=outcome.lengths,
        units=outcome.units,
        curves=curves,
        config=describe(trainer.config),
    )
    write_durably(trainer.run / REPORT_FILE, render_report(report).encode())


def _unit(images: torch.Tensor) -> NDArray[np.floating]:
    return unit_range(images).cpu().numpy()
