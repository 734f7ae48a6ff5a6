"""The measures of a trained model on rendered people who are not in its training data."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tcae.data.labels import LabelTable
from tcae.data.pictures import centre
from tcae.data.shards import PackedDataset
from tcae.data.synthetic.flow import Flow
from tcae.data.synthetic.truth import TruthPair, truth_pairs
from tcae.data.synthetic.world import World
from tcae.evaluation.disentanglement import Truth, pair_values, pose_r2
from tcae.evaluation.embedding import EmbeddedFrames, embed_frames
from tcae.evaluation.estimates import Estimate
from tcae.evaluation.labelled_frames import LabelledFrames
from tcae.evaluation.metrics import Array
from tcae.evaluation.protocol import ProbeResults, cross_validate
from tcae.models.face_encoder import FaceEncoder
from tcae.objectives.twin_cycle import TwinCycleObjective
from tcae_ops import warp

_BATCH = 50  # pairs that are rendered and compared at once
_OTHER_PEOPLE = 1_000_003  # added to the seed of the world that was trained on


@dataclass(frozen=True)
class UnseenConfig:
    """On how many other rendered people a trained model is measured."""

    people: int = 80
    """People whose frames are probed for action units and pose."""
    pairs: int = 300
    """Pairs of frames, each of another person, whose flows and pictures are compared with the
    truth."""
    seed: int = 11
    """Which people. Published figures are for those of seed 11, so choose recipes on others."""
    fabnet: bool = True
    """Of tcae.train without --data: train FAb-Net's objective too, for as long, as a comparison."""

    def __post_init__(self) -> None:
        for name, least in (("people", 3), ("pairs", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}, it must be at least {least}")


def unseen_world(world: World, config: UnseenConfig) -> World:
    """Return the same world with other people."""
    seed = (world.seed + _OTHER_PEOPLE * (1 + config.seed)) % 2**63
    return dataclasses.replace(world, seed=seed, identities=config.people)


def read_pose(path: Path, dataset: PackedDataset, frames: NDArray[np.int64]) -> Array:
    """Read yaw, pitch and roll in degrees, (n, 3), of packed frames from their `truth.csv`.

    Raises:
        ValueError: It lacks a frame.
    """
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        found = {
            row["frame"]: [float(row[name]) for name in ("yaw", "pitch", "roll")]
            for row in csv.DictReader(file)
        }
    names = [dataset.name(int(i)) for i in frames]
    missing = [name for name in names if name not in found]
    if missing:
        raise ValueError(f"{path}: lacks {len(missing)} frames, as {missing[0]}")
    return np.array([found[name] for name in names])


def measure_embeddings(
    encoder: FaceEncoder, others: Mapping[str, FaceEncoder], people: LabelledFrames, seed: int = 0
) -> tuple[dict[str, Estimate], ProbeResults]:
    """Measure what the embeddings of people not trained on know.

    au_auc, au_auc_from_pose: mean AUC over action units of `cross_validate` on either embedding;
    au_auc_NAME: the same of the AU embeddings of `others`; pose_r2_from_au, pose_r2_from_pose:
    `pose_r2`.

    Args:
        encoder: The trained encoder.
        others: Encoders to compare it with, by name.
        people: Frames of them, with pose if it is known.
        seed: Of folds and probes.

    Returns:
        The measures, and the results of the probe on the AU embedding.
    """
    dataset, labels = people.dataset, people.labels
    embedded = embed_frames(encoder, dataset, labels.frame_index)
    results = cross_validate(embedded, labels, seed=seed)
    measures = {
        "au_f1": Estimate(results.scores.f1_mean),
        "au_auc": _auc(results),
        "au_auc_from_pose": _auc(cross_validate(embedded, labels, embedding="pose", seed=seed)),
    }
    for name, other in others.items():
        known = embed_frames(other, dataset, labels.frame_index)
        measures[f"au_auc_{name}"] = _auc(cross_validate(known, labels, seed=seed))
    if people.pose is not None:
        measures |= _pose_measures(embedded, labels, people.pose, seed)
    return measures, results


def truth_values(
    objective: TwinCycleObjective,
    world: World,
    config: UnseenConfig,
    crop: float,
    device: torch.device,
) -> tuple[dict[str, Array], list[str], list[TruthPair]]:
    """Return `pair_values` of rendered pairs of people who are in no data set.

    Args:
        objective: The trained model, in eval mode.
        world: What it was trained on.
        config: How many pairs, and of whom.
        crop: Side of the centred part of a picture that the model gets, as a share.
        device: Where the model computes.

    Returns:
        (N,) values, the N people, and the pairs.
    """
    size = objective.model.image_size
    pairs = list(truth_pairs(unseen_world(world, config), "fresh", config.pairs))
    parts = []
    for batch in _in_batches(pairs):
        source, target = (images_of(batch, name, crop, size) for name in ("source", "target"))
        on_device = [torch.from_numpy(images).to(device) for images in (source, target)]
        pictures = objective.pictures(*on_device)
        parts.append(pair_values(source, target, pictures, truth_of(batch, crop, size)))
    values = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return values, [pair.identity for pair in pairs], pairs


def truth_of(pairs: list[TruthPair], crop: float, size: int) -> Truth:
    """Return what a perfect model of an image size would predict for the centred part of pairs."""
    exact = {name: [getattr(p, f"{name}_flow") for p in pairs] for name in ("au", "pose")}
    scaled = {name: [_at_size(flow, crop, size) for flow in flows] for name, flows in exact.items()}
    flow = {name: np.stack([f for f, _ in parts]) for name, parts in scaled.items()}
    face = {name: np.stack([m for _, m in parts]) for name, parts in scaled.items()}
    source = torch.from_numpy(images_of(pairs, "source", crop, size))
    warped = {
        name: warp(source, torch.from_numpy(f), units="normalized").numpy()
        for name, f in flow.items()
    }
    return Truth(
        au_changed=images_of(pairs, "au_only", crop, size),
        pose_changed=images_of(pairs, "pose_only", crop, size),
        au_flow=flow["au"],
        pose_flow=flow["pose"],
        au_face=face["au"],
        pose_face=face["pose"],
        au_warped=warped["au"],
        pose_warped=warped["pose"],
    )


def images_of(pairs: list[TruthPair], name: str, crop: float, size: int) -> NDArray[np.float32]:
    """Return the pictures of one name as the model gets them, (N, 3, S, S) in [0, 1]."""
    stack = np.stack([centre(getattr(pair, name), crop, size) for pair in pairs])
    return stack.transpose(0, 3, 1, 2).astype(np.float32) / 255


def _at_size(flow: Flow, crop: float, size: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the flow (2, S, S) for another size, in normalised units, and where it counts."""
    counts = flow.face & flow.visible
    # Pixels where the source does not show the point would spoil the mean over a larger pixel.
    known = flow.visible.astype(np.float32)
    layers = np.stack([flow.flow[0] * known, flow.flow[1] * known, known], -1)
    side = max(round(crop * len(known)), 1)
    x, y, weight = np.moveaxis(centre(layers, crop, size), -1, 0)
    inside = np.repeat(counts[..., None].astype(np.float32), 3, -1)
    face = centre(inside, crop, size)[..., 0] >= 0.5  # type: ignore[arg-type]
    # A pixel of the new picture is side / size old ones; half a picture is (size - 1) / 2 new ones.
    scale = size / side * 2 / (size - 1)
    mean = np.stack([x, y]) * scale / np.maximum(weight, 1e-6)
    return mean.astype(np.float32), face & (weight > 0)


def _in_batches(pairs: list[TruthPair]) -> Iterator[list[TruthPair]]:
    return (pairs[start : start + _BATCH] for start in range(0, len(pairs), _BATCH))


def _auc(results: ProbeResults) -> Estimate:
    interval = results.auc_interval
    return Estimate(results.scores.auc_mean, interval.mean_low, interval.mean_high)


def _pose_measures(
    embedded: EmbeddedFrames, labels: LabelTable, pose: Array, seed: int
) -> dict[str, Estimate]:
    known = np.isfinite(embedded.au).all(1)
    people = [labels.subjects[i] for i in np.flatnonzero(known)]
    return {
        f"pose_r2_from_{name}": pose_r2(embedded.of(name)[known], pose[known], people, seed)
        for name in ("au", "pose")
    }
