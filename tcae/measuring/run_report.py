"""The end of a run: measures on people it was not trained on, and the report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tcae.data.labels import LABELS
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
from tcae.measuring.trained import Trained, fabnet_of, first_world
from tcae.models.encoder import unit_range
from tcae.models.encoder_file import load_encoder
from tcae.report.html import RunReport, render_report
from tcae.report.panels import pair_pictures
from tcae.training.config import describe, versions
from tcae.training.held_out_probe import held_out_labels
from tcae.training.logbook import METRICS_FILE
from tcae.training.run_directory import PROBE, REPORT_FILE
from tcae.training.trainer import Trainer


def measure_run(trainer: Trainer) -> Measurement:
    """Measure a trained model, and write the results of the probe and the report.

    On rendered data, flows and action units are measured on other people of the same world. On real
    data, flows are measured on validation pairs, and action units on labelled people who were not
    trained on, if there are any.

    Args:
        trainer: The trainer, after its last step.

    Raises:
        ValueError: The labels cannot be used.
    """
    trained = Trained(
        trainer.objective.eval(),
        load_encoder(trainer.run, trainer.device),
        trainer.config,
        first_world([dataset.path for dataset in trainer.data.mixture.datasets]),
        fabnet_of(trainer.run, trainer.device),
    )
    measurement = (
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
            measurement = measurement | probed
    finally:
        _write_report(trainer, measurement)
    return measurement


def _measure_validation(trainer: Trainer) -> Measurement:
    """Measure flows and pictures of validation pairs, whose truth is not known."""
    objective, parts = trainer.objective, []
    for source, target in trainer.data.validation.pairs():
        pictures = objective.pictures(source, target)
        parts.append(pair_values(_unit(source), _unit(target), pictures, None))
    values = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    measures = pair_measures(values, [str(i) for i in range(len(values["recon"]))])
    images = trainer.data.validation.example(SHOWN)
    return Measurement(
        # No intervals: pairs share people here, so intervals over pairs would be too narrow.
        {name: Estimate(measure.value) for name, measure in measures.items()},
        pairs=pair_pictures(*images, objective.pictures(*images), None),
        lengths=lengths(values),
    )


def _labelled(trainer: Trainer, trained: Trained) -> LabelledFrames | None:
    """Return the labelled frames to probe. None if there are none."""
    if trained.world is not None:
        return rendered_people(trained, trained.world, trainer.run.parent / CACHE)
    labelled = [d for d in trainer.data.mixture.datasets if (d.path / LABELS).exists()]
    if labelled and trainer.config.pairs.split == "identity":
        labels = held_out_labels(labelled[0], trainer.config.pairs.split_seed)
        return LabelledFrames(labelled[0], labels)
    return None


_CURVES = {
    "validation loss": {"loss": "loss"},
    "reconstruction / unmoved source": {"L1 ratio": "recon_ratio"},
    "mean flow length": {"AU": "au_flow", "pose": "pose_flow"},
    "embedding variance": {"AU": "au_variance", "pose": "pose_variance"},
    "effective rank": {"AU": "au_effective_rank", "pose": "pose_effective_rank"},
    "AUC of action units": {"probe": "probe_auc"},
}


def _write_report(trainer: Trainer, measurement: Measurement) -> None:
    report = RunReport(
        title=trainer.run.name,
        about=", ".join(f"{name} {value}" for name, value in versions().items()),
        measures=measurement.measures,
        numbers=trainer.summary(),
        pairs=measurement.pairs,
        pairs_of=pairs_of(trainer),
        lengths=measurement.lengths,
        units=measurement.units,
        curves=_curves(trainer.run),
        config=describe(trainer.config),
    )
    write_durably(trainer.run / REPORT_FILE, render_report(report).encode())


def pairs_of(trainer: Trainer) -> str:
    """Return whose pairs the report shows, and no more than is known of that."""
    if first_world([dataset.path for dataset in trainer.data.mixture.datasets]) is not None:
        return "Pairs of people never seen"
    if trainer.config.pairs.split == "identity":
        return "Pairs of people with other names than those trained on"
    return "Pairs that were not trained on"


def _curves(run: Path) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Read the curves of the report: points (step, value) by chart and name."""
    lines = [
        line
        for text in (run / METRICS_FILE).read_text().splitlines()
        if (line := json.loads(text))["kind"] == "val"
    ]
    return {
        title: {
            name: [(line["step"], v) for line in lines if (v := line.get(key)) is not None]
            for name, key in names.items()
        }
        for title, names in _CURVES.items()
    }


def _unit(images: torch.Tensor) -> NDArray[np.floating]:
    return unit_range(images).cpu().numpy()
