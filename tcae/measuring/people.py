"""A trained model in figures: measures on people it has not seen, and pictures beside them."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from tcae.cli.pack_display import PackDisplay
from tcae.cli.progress import say
from tcae.data.labels import LABELS, LabelTable, read_labels
from tcae.data.shards import PackedDataset
from tcae.data.synthetic.packed import TRUTH, default_world
from tcae.data.synthetic.world import World
from tcae.evaluation.disentanglement import Truth, pair_measures
from tcae.evaluation.embedding import FaceEncoder, embed_frames, read_faces
from tcae.evaluation.estimates import Estimate
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
from tcae.measuring.shared_embedding import Embed
from tcae.measuring.trained import Trained
from tcae.measuring.untrained import untrained_encoder
from tcae.objectives.twin_cycle import TwinCycleObjective
from tcae.report.panels import Picture, pair_pictures

CACHE = "data"
"""Name of the directory, beside a run, that holds packed worlds."""

SHOWN = 8  # pairs in the report
_STATISTICS = 256  # faces that give the untrained encoder's batch norm its statistics

_LENGTHS = {
    "AU flow": "au_length",
    "pose flow": "pose_length",
    "true AU flow": "au_true_length",
    "true pose flow": "pose_true_length",
}


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

    def show(
        self,
        objective: TwinCycleObjective,
        source: torch.Tensor,
        target: torch.Tensor,
        values: Mapping[str, Array],
        truth: Truth | None,
    ) -> None:
        """Keep pictures of some pairs, and of all pairs how long their flows are.

        Args:
            objective: The model, in eval mode.
            source: (N, 3, S, S) of the pairs to look at.
            target: The same.
            values: What `pair_values` gave for all pairs.
            truth: What a perfect model would make of the pairs to look at, if that is known.
        """
        self.pairs = pair_pictures(source, target, objective.pictures(source, target), truth)
        self.lengths = {k: values[v].tolist() for k, v in _LENGTHS.items() if v in values}


class Labelled(NamedTuple):
    """Frames of people not trained on, of whom something is known.

    Attributes:
        dataset: Packed frames.
        labels: Those of them whose action units are known.
        pose: (n, 3) pose in these, None where it is not known.
    """

    dataset: PackedDataset
    labels: LabelTable
    pose: Array | None


def measure_unseen(trained: Trained, cache: Path) -> Outcome:
    """Measure a model on rendered people not trained on, as after training.

    Args:
        trained: The model; which people is in its configuration's `unseen`.
        cache: Where packed worlds are kept.

    Raises:
        ValueError: It was not trained on rendered people, so there are no others of their kind.
    """
    if trained.world is None:
        raise ValueError(
            "the model was trained on real people, of whom the truth is not known; what can be "
            "measured is in the summary.json of its run"
        )
    outcome = Outcome()
    measure_flows(trained, trained.world, outcome)
    probe_frames(trained, rendered_people(trained, trained.world, cache), outcome)
    return outcome


def measure_flows(trained: Trained, world: World, outcome: Outcome) -> None:
    """Measure flows and pictures on rendered pairs of people in no data set."""
    objective, config, device = trained.objective, trained.config, trained.encoder.device
    say(f"measuring flows on {config.unseen.pairs} rendered people not trained on")
    crop = config.pairs.centre_crop
    values, people, pairs = truth_values(objective, world, config.unseen, crop, device)
    outcome.add(pair_measures(values, people))
    source, target = (
        torch.from_numpy(images_of(pairs[:SHOWN], name, crop, config.image_size)).to(device)
        for name in ("source", "target")
    )
    truth = truth_of(pairs[:SHOWN], crop, config.image_size)
    outcome.show(objective, source, target, values, truth)


def probe_frames(
    trained: Trained, labelled: Labelled, outcome: Outcome, embed: Embed = embed_frames
) -> ProbeResults:
    """Probe the embeddings that `embed` gives for action units, and for pose where it is known."""
    dataset, labels, pose = labelled
    frames, encoder, config = labels.frame_index, trained.encoder, trained.config
    if not len(frames):
        raise ValueError("labels: there are none of people outside the training split")
    say(f"probing {len(frames)} labelled frames of people not trained on")
    some = frames[np.unique(np.linspace(0, len(frames) - 1, _STATISTICS).astype(int))]
    images = read_faces(dataset, some, encoder.crop, encoder.image_size)
    untrained = untrained_encoder(config.model, encoder, images)
    others: dict[str, FaceEncoder] = {"random": untrained}
    if trained.fabnet is not None:
        others["fabnet"] = trained.fabnet
    measures, results = measure_embeddings(
        encoder, others, dataset, labels, pose, config.seed, embed
    )
    say(text_table(results))
    outcome.add({"au_f1": Estimate(results.scores.f1_mean), **measures})
    outcome.units, outcome.failures = rows(results), results.failures
    return results


def rendered_people(trained: Trained, world: World, cache: Path) -> Labelled:
    """Other people of the same world, with all that is known of them."""
    dataset = PackedDataset(rendered(cache, unseen_world(world, trained.config.unseen)))
    labels = read_labels(dataset.path / LABELS, dataset)
    return Labelled(dataset, labels, read_pose(dataset.path / TRUTH, dataset, labels.frame_index))


def rendered(cache: Path, world: World) -> Path:
    """The packed frames of a world; rendered once, then used again."""
    with PackDisplay(world.identities * world.videos, "tcae") as display:
        return default_world(cache, world, os.cpu_count() or 1, display.report)
