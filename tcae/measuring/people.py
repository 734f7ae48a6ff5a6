"""Measures and pictures of a trained model on people it was not trained on."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from tcae.cli.displays import PackDisplay
from tcae.cli.progress import say
from tcae.data.labels import LABELS, read_labels
from tcae.data.shards import PackedDataset
from tcae.data.synthetic.packed import TRUTH, default_world
from tcae.data.synthetic.world import World
from tcae.evaluation.disentanglement import pair_measures
from tcae.evaluation.estimates import Estimate
from tcae.evaluation.labelled_frames import LabelledFrames
from tcae.evaluation.metrics import Array
from tcae.evaluation.protocol import ProbeResults
from tcae.evaluation.results import rows, text_table
from tcae.evaluation.unseen import (
    images_of,
    measure_embeddings,
    read_pose,
    truth_of,
    truth_values,
    unseen_world,
)
from tcae.measuring.trained import Trained
from tcae.methods.method import Material
from tcae.methods.registry import METHODS
from tcae.models.face_encoder import FaceEncoder
from tcae.report.panels import Picture, pair_pictures

CACHE = "data"
"""Name of the directory of packed worlds. It lies beside the run directories."""

SHOWN = 8
"""Number of pairs in the report."""

_LENGTHS = {
    "AU flow": "au_length",
    "pose flow": "pose_length",
    "true AU flow": "au_true_length",
    "true pose flow": "pose_true_length",
}


@dataclass(frozen=True)
class Measurement:
    """Measures and pictures of a trained model.

    Attributes:
        measures: Measures by name; `tcae.evaluation.disentanglement.GOALS` explains them.
        failures: One line for each labelled frame that could not be read.
        units: One row for each action unit.
        pairs: The pictures of each pair, by what they show.
        lengths: Mean displacement length of each pair, by kind of flow.
    """

    measures: Mapping[str, Estimate] = field(default_factory=dict)
    failures: Sequence[str] = ()
    units: Sequence[Mapping[str, Any]] = ()
    pairs: Sequence[Mapping[str, Picture]] = ()
    lengths: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def __or__(self, other: Measurement) -> Measurement:
        """Join two measurements. Where both have a measure, the second one counts."""
        return Measurement(
            {**self.measures, **other.measures},
            (*self.failures, *other.failures),
            (*self.units, *other.units),
            (*self.pairs, *other.pairs),
            {**self.lengths, **other.lengths},
        )


def measure_unseen(trained: Trained, cache: Path) -> Measurement:
    """Measure a model on rendered people it was not trained on, as `tcae.train` does at the end.

    Args:
        trained: The model. The group `unseen` of its configuration says which people.
        cache: Directory of packed worlds.

    Raises:
        ValueError: The model was trained on real people, so there are no others of their kind.
    """
    if trained.world is None:
        raise ValueError(
            "the model was trained on real people, of whom the truth is not known; what can be "
            "measured is in the summary.json of its run"
        )
    flows = measure_flows(trained, trained.world)
    probed, _ = probe_frames(trained, rendered_people(trained, trained.world, cache))
    return flows | probed


def measure_flows(trained: Trained, world: World) -> Measurement:
    """Measure flows and pictures on pairs of people that are rendered for this and not stored."""
    config, device = trained.config, trained.encoder.device
    say(f"measuring flows on {config.unseen.pairs} rendered people not trained on")
    crop = config.pairs.centre_crop
    values, people, pairs = truth_values(trained.objective, world, config.unseen, crop, device)
    source, target = (
        torch.from_numpy(images_of(pairs[:SHOWN], name, crop, config.image_size)).to(device)
        for name in ("source", "target")
    )
    truth = truth_of(pairs[:SHOWN], crop, config.image_size)
    pictures = trained.objective.pictures(source, target)
    return Measurement(
        pair_measures(values, people),
        pairs=pair_pictures(source, target, pictures, truth),
        lengths=lengths(values),
    )


def lengths(values: Mapping[str, Array]) -> dict[str, Sequence[float]]:
    """Pick the mean flow lengths of each pair from the values that `pair_values` gave."""
    return {name: values[key].tolist() for name, key in _LENGTHS.items() if key in values}


def probe_frames(trained: Trained, people: LabelledFrames) -> tuple[Measurement, ProbeResults]:
    """Probe embeddings for action units, and for pose where it is known.

    Raises:
        ValueError: There are no labels.
    """
    labels, config = people.labels, trained.config
    if not len(labels.frame_index):
        raise ValueError("labels: there are none of people outside the training split")
    say(f"probing {len(labels.frame_index)} labelled frames of people not trained on")
    material = Material(people.dataset, config, device=trained.encoder.device)
    others: dict[str, FaceEncoder] = {"random": METHODS["random_weights"].make(material)}
    if trained.fabnet is not None:
        others["fabnet"] = trained.fabnet
    others["pixels"] = METHODS["pixels"].make(material)
    measures, results = measure_embeddings(trained.encoder, others, people, config.seed)
    say(text_table(results))
    return Measurement(measures, results.failures, rows(results)), results


def rendered_people(trained: Trained, world: World, cache: Path) -> LabelledFrames:
    """Render people of the same world that were not trained on, with their labels and poses."""
    dataset = PackedDataset(rendered(cache, unseen_world(world, trained.config.unseen)))
    labels = read_labels(dataset.path / LABELS, dataset)
    pose = read_pose(dataset.path / TRUTH, dataset, labels.frame_index)
    return LabelledFrames(dataset, labels, pose=pose)


def rendered(cache: Path, world: World) -> Path:
    """Return the directory of the packed frames of a world, which are rendered only once."""
    with PackDisplay(world.identities * world.videos, "tcae") as display:
        return default_world(cache, world, os.cpu_count() or 1, display.report)
