"""What a finished run is judged by: measures on people it has not seen, and the report."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tcae.config import describe, versions
from tcae.data.durable import write_durably
from tcae.data.labels import LABELS, LabelTable, read_labels
from tcae.data.shards import PackedDataset
from tcae.data.splits import split_of
from tcae.data.synthetic.packed import TRUTH, default_world, world_of
from tcae.data.synthetic.world import World
from tcae.engine.encoder_file import load_encoder
from tcae.engine.logbook import METRICS_FILE
from tcae.engine.pack_display import PackDisplay
from tcae.engine.progress import say
from tcae.engine.run_directory import PROBE, REPORT_FILE
from tcae.engine.trainer import Trainer
from tcae.engine.untrained import untrained_encoder
from tcae.evaluation.disentanglement import pair_measures, pair_values
from tcae.evaluation.estimates import Estimate
from tcae.evaluation.protocol import select
from tcae.evaluation.results import rows, text_table, write_results
from tcae.evaluation.unseen import (
    images_of,
    made_of,
    measure_embeddings,
    read_pose,
    truth_of,
    truth_values,
    unseen_world,
)
from tcae.models.twin_cycle import unit_range
from tcae.report.html import RunReport, render_report
from tcae.report.panels import FLOW_NOTE, Picture, pair_pictures

_SHOWN = 8  # pairs in the report


@dataclass
class Outcome:
    """What is found out about a finished run.

    Attributes:
        figures: For `summary.json`: measures, and the bounds of their intervals as `..._low`,
            `..._high`.
        failures: One line for each labelled frame that could not be read.
        units: One row per action unit.
        pairs: Pictures of pairs, by what they show.
        lengths: Mean displacement length of each pair, by kind of flow.
    """

    figures: dict[str, float] = field(default_factory=dict)
    failures: Sequence[str] = ()
    units: Sequence[Mapping[str, Any]] = ()
    pairs: Sequence[Mapping[str, Picture]] = ()
    lengths: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def add(self, measures: Mapping[str, Estimate]) -> None:
        """Take over measures that are numbers."""
        for name, estimate in measures.items():
            named = {
                name: estimate.value,
                f"{name}_low": estimate.low,
                f"{name}_high": estimate.high,
            }
            self.figures |= {k: v for k, v in named.items() if math.isfinite(v)}


def rendered_world(dataset: PackedDataset) -> World | None:
    """The world that a data set was rendered from, None for videos of real people."""
    try:
        return world_of(dataset.path)
    except ValueError:
        return None


def judge(trainer: Trainer) -> Outcome:
    """Measure a trained model, write the probe's results and the report.

    Rendered data: on other people of the same world. Labelled data: the action units of the people
    that were not trained on. Any data: the flows between validation pairs.

    Raises:
        ValueError: The labels cannot be used.
    """
    outcome = Outcome()
    world = rendered_world(trainer.dataset)
    _measure_flows(trainer, world, outcome)
    try:
        _measure_embeddings(trainer, world, outcome)
    finally:
        _write_report(trainer, outcome)
    return outcome


def _measure_flows(trainer: Trainer, world: World | None, outcome: Outcome) -> None:
    objective, config = trainer.objective.eval(), trainer.config
    if world is None:
        parts = []
        for source, target in trainer.validation.pairs():
            pictures = objective.pictures(source, target)
            parts.append(pair_values(_unit(source), _unit(target), made_of(pictures), None))
        values = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        measures = pair_measures(values, [str(i) for i in range(len(values["recon"]))])
        outcome.add({name: Estimate(measure.value) for name, measure in measures.items()})
        source, target = trainer.validation.example(_SHOWN)
        truth = None
    else:
        say(f"measuring flows on {config.unseen.pairs} rendered people not trained on")
        crop = config.pairs.centre_crop
        values, people, pairs = truth_values(objective, world, config.unseen, crop, trainer.device)
        outcome.add(pair_measures(values, people))
        truth = truth_of(pairs[:_SHOWN], crop, config.image_size)
        source, target = (
            torch.from_numpy(images_of(pairs[:_SHOWN], name, crop, config.image_size))
            for name in ("source", "target")
        )
        source, target = source.to(trainer.device), target.to(trainer.device)
    outcome.pairs = pair_pictures(source, target, objective.pictures(source, target), truth)
    outcome.lengths = {k: values[v].tolist() for k, v in _LENGTHS.items() if v in values}


def _measure_embeddings(trainer: Trainer, world: World | None, outcome: Outcome) -> None:
    """Probe where there are labels."""
    config, dataset, pose = trainer.config, trainer.dataset, None
    if world is not None:
        others = unseen_world(world, config.unseen)
        dataset = PackedDataset(rendered(trainer.run.parent, others))
        labels = read_labels(dataset.path / LABELS, dataset)
        pose = read_pose(dataset.path / TRUTH, dataset, labels.frame_index)
    elif (dataset.path / LABELS).exists() and config.pairs.split == "identity":
        labels = _not_trained_on(trainer)
    else:
        return
    say(f"probing {len(labels.frame_index)} labelled frames of people not trained on")
    encoder = load_encoder(trainer.run, trainer.device)
    images = torch.cat([source for source, _ in trainer.validation.pairs()])
    untrained = untrained_encoder(config.model, encoder, images)
    measures, results = measure_embeddings(encoder, untrained, dataset, labels, pose, config.seed)
    (trainer.run / PROBE).mkdir(exist_ok=True)
    write_results(trainer.run / PROBE, results, dataset)
    say(text_table(results))
    outcome.add({"au_f1": Estimate(results.scores.f1_mean), **measures})
    outcome.units, outcome.failures = rows(results), results.failures


def rendered(beside: Path, world: World) -> Path:
    """The packed frames of a world; rendered once, then used again."""
    cache = beside / "data"
    with PackDisplay(world.identities * world.videos, "tcae.train") as display:
        return default_world(cache, world, os.cpu_count() or 1, display.report)


def _not_trained_on(trainer: Trainer) -> LabelTable:
    dataset, seed = trainer.dataset, trainer.config.pairs.split_seed
    labels = read_labels(dataset.path / LABELS, dataset)
    splits = [split_of(dataset.identity(int(i)), seed) for i in labels.frame_index]
    return select(labels, np.array([split != "train" for split in splits]))


_LENGTHS = {
    "AU flow": "au_length",
    "pose flow": "pose_length",
    "true AU flow": "au_true_length",
    "true pose flow": "pose_true_length",
}
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
