"""The probe while training: how well the embedding tells action units of people it does not see."""

from __future__ import annotations

import logging

import numpy as np
import torch
from torch import Tensor

from tcae.data.labels import LABELS, LabelTable, read_labels, select
from tcae.data.mixture import Mixture
from tcae.data.shards import PackedDataset
from tcae.data.splits import split_of
from tcae.evaluation.embedding import PictureBatches
from tcae.evaluation.metrics import score
from tcae.evaluation.ridge import predict_out_of_fold
from tcae.models.encoder import Encoder
from tcae.training.config import TrainConfig

log = logging.getLogger(__name__)

_FOLDS = 3
_AT_ONCE = 128  # pictures that are embedded together


class HeldOutProbe:
    """Labelled pictures in memory, whose action units are read off the embedding of a model.

    It is a ridge regression on folds of people, which takes no steps, so it costs little more than
    the embedding of its pictures. The probe of a finished run is trained with more care.

    Args:
        pictures: (n, 3, S, S) uint8.
        labels: The labels of these pictures, of three people or more.
        device: Where the model computes.
    """

    def __init__(self, pictures: Tensor, labels: LabelTable, device: torch.device) -> None:
        self._pictures, self._labels, self._device = pictures, labels, device

    @torch.no_grad()
    def auc(self, encoder: Encoder) -> float:
        """Return the mean AUC over the action units, each of people that were not learned from.

        Units with one class only do not count. NaN if there are no others.
        """
        training = encoder.training
        encoder.eval()
        parts = [encoder(part.to(self._device)).au for part in self._pictures.split(_AT_ONCE)]
        encoder.train(training)
        embeddings = torch.cat(parts).float().cpu().numpy()
        truth = self._labels.values
        known = ~np.isnan(truth)
        means = np.where(known, truth, 0).sum(0) / np.maximum(known.sum(0), 1)
        targets = np.where(known, truth, means)  # an unknown label pulls to neither side
        predicted = predict_out_of_fold(embeddings, targets, self._labels.subjects, folds=_FOLDS)
        return score(truth, predicted).auc_mean


def held_out_labels(dataset: PackedDataset, split_seed: int) -> LabelTable:
    """Return the labels of people outside the training split.

    Raises:
        ValueError: The labels cannot be used.
    """
    labels = read_labels(dataset.path / LABELS, dataset)
    splits = [split_of(dataset.identity(int(i)), split_seed) for i in labels.frame_index]
    return select(labels, np.array([split != "train" for split in splits]))


def held_out_probe(
    mixture: Mixture, config: TrainConfig, device: torch.device
) -> HeldOutProbe | None:
    """Return a probe of the first data set with labels. None if people with labels are too few.

    It takes `validation.probe_frames` of the labelled frames, spread evenly. Those that cannot be
    read are left out.
    """
    most = config.validation.probe_frames
    labelled = [d for d in mixture.datasets if (d.path / LABELS).exists()]
    if not most or not labelled or config.pairs.split != "identity":
        return None
    [dataset, *_] = labelled
    try:
        labels = held_out_labels(dataset, config.pairs.split_seed)
    except ValueError as error:
        log.warning("validation does not probe action units: %s", error)
        return None
    count = len(labels.frame_index)
    labels = select(labels, _spread(count, most))
    crop, size = config.pairs.centre_crop, config.image_size
    frames = labels.frame_index
    pictures, readable, _ = PictureBatches(dataset, frames, max(len(frames), 1), crop, size)[0]
    labels = select(labels, readable)
    if len(set(labels.subjects)) < _FOLDS:
        return None
    return HeldOutProbe(pictures, labels, device)


def _spread(count: int, most: int) -> np.ndarray:
    """Return which (count,) of some rows to take, no more than `most` and spread evenly."""
    rows = np.zeros(count, bool)
    rows[np.linspace(0, count - 1, min(count, most)).round().astype(int)] = True
    return rows
