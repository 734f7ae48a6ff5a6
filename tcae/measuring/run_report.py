"""What a finished run is judged by: measures on people it has not seen, and the report."""

from __future__ import annotations

import json

import numpy as np
import torch
from numpy.typing import NDArray

from tcae.data.labels import LABELS, LabelTable, read_labels, select
from tcae.data.splits import split_of
from tcae.evaluation.disentanglement import pair_measures, pair_values
from tcae.evaluation.estimates import Estimate
from tcae.evaluation.labelled_frames import LabelledFrames
from tcae.evaluation.results import write_results
from tcae.files.durable import write_durably
from tcae.measuring.people import (
    CACHE,
    SHOWN,
    Measurement,
    lengths,
    measure_flows,
    probe_frames,
    rendered_people,
)
from tcae.measuring.trained import Trained, fabnet_of, rendered_world
from tcae.models.encoder import unit_range
from tcae.models.encoder_file import load_encoder
from tcae.report.html import RunReport, render_report
from tcae.report.panels import FLOW_NOTE, pair_pictures
from tcae.training.config import describe, versions
from tcae.training.logbook import METRICS_FILE
from tcae.training.run_directory import PROBE, REPORT_FILE
from tcae.training.trainer import Trainer


def measure_run(trainer: Trainer) -> Measurement:
    """Measure a trained model, write the probe's results and the report.

    Rendered data: on other people of the same world. Labelled data: the action units of the people
    that were not trained on. Any data: the flows between validation pairs.

    Args:
        trainer: It has done its last step.

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
    found = (
        _measure_validation(trainer)
        if trained.world is None
        else measure_flows(trained, trained.world)
    )
    try:
        people = _labelled(trainer, trained)
        if people is not None:
            probed, results = probe_frames(trained, people)
            (trainer.run / PROBE).mkdir(exist_ok=True)
            write_results(trainer.run / PROBE, results, people.dataset)
            found = found | probed
    finally:
        _write_report(trainer, found)
    return found


def _measure_validation(trainer: Trainer) -> Measurement:
    """Measure flows and pictures where their truth is not known."""
    objective, parts = trainer.objective, []
    for source, target in trainer.validation.pairs():
        pictures = objective.pictures(source, target)
        parts.append(pair_values(_unit(source), _unit(target), pictures, None))
    values = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    measures = pair_measures(values, [str(i) for i in range(len(values["recon"]))])
    shown = trainer.validation.example(SHOWN)
    return Measurement(
        # Pairs share people here, so intervals over pairs would be too narrow.
        {name: Estimate(measure.value) for name, measure in measures.items()},
        pairs=pair_pictures(*shown, objective.pictures(*shown), None),
        lengths=lengths(values),
    )


def _labelled(trainer: Trainer, trained: Trained) -> LabelledFrames | None:
    """Who is probed, None if of nobody anything is known."""
    if trained.world is not None:
        return rendered_people(trained, trained.world, trainer.run.parent / CACHE)
    dataset = trainer.dataset
    if (dataset.path / LABELS).exists() and trainer.config.pairs.split == "identity":
        return LabelledFrames(dataset, _not_trained_on(trainer))
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


def _write_report(trainer: Trainer, found: Measurement) -> None:
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
        measures=found.measures,
        numbers=trainer.summary(),
        pairs=found.pairs,
        flow_unit=FLOW_NOTE,
        lengths=found.lengths,
        units=found.units,
        curves=curves,
        config=describe(trainer.config),
    )
    write_durably(trainer.run / REPORT_FILE, render_report(report).encode())


def _unit(images: torch.Tensor) -> NDArray[np.floating]:
    return unit_range(images).cpu().numpy()
