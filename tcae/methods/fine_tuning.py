"""Fine-tuning: an encoder's AU branch and a probe trained together on labelled frames."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tcae.data.labels import LabelTable, select
from tcae.data.shards import PackedDataset
from tcae.evaluation.embedding import PictureBatches, embed_frames, read_faces
from tcae.evaluation.folds import held_out_subjects
from tcae.evaluation.linear_probe import LinearProbe, fit_probe
from tcae.evaluation.metrics import score
from tcae.methods.strong_augmentation import strongly_augment
from tcae.methods.training import LabelledBatches, balanced_losses
from tcae.models.batch_norm import calibrate_batch_norm
from tcae.models.encoder import Encoder, unit_range
from tcae.models.encoder_file import FrozenEncoder
from tcae.training.device import autocast
from tcae.training.early_stopping import EarlyStopping
from tcae.training.optimizer import OptimizerConfig
from tcae.training.simple_loop import Recipe, fit

SETTINGS = "finetune.json"
"""Name of the file with the settings in a directory of `tcae.finetune`."""

_HELD_OUT = 0.15  # of the people that a detector learns from: they say when to stop
_JUDGED = 1000  # frames of them at most
_FACES = 2048  # that the decorrelation is fitted to, as after pretraining
_STATISTICS = 640  # images that the running statistics of batch norm cover at least
_BATCH = 64  # images that are embedded at once


@dataclass(frozen=True)
class FineTuningConfig:
    """How an encoder is fine-tuned."""

    steps: int = 1500
    batch_size: int = 64
    learning_rate: float = 3e-3
    layer_decay: float = 0.8
    augment: bool = True
    patience: int = 6
    minutes: float | None = None

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("batch_size", 2), ("patience", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}, it must be at least {least}")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate is {self.learning_rate}, it must be above 0")
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"layer_decay is {self.layer_decay}, it must lie in (0, 1]")
        if self.minutes is not None and not self.minutes > 0:
            raise ValueError(f"minutes is {self.minutes}, it must be above 0")


class Detector(nn.Module):
    """An encoder and a probe as one network that is trained. Calling it returns logits (N, A).

    The pose branch stays as it is. So does the normalisation of the probe, whose statistics are
    those of the embeddings before.

    Args:
        encoder: The encoder. Its AU embedding is not decorrelated.
        probe: A probe of its AU embedding.
        batch_size: Images in a batch.
    """

    def __init__(self, encoder: Encoder, probe: LinearProbe, batch_size: int) -> None:
        super().__init__()
        self.encoder, self.probe = encoder, probe
        for trained in (encoder.backbone, encoder.au_branch, probe):
            trained.requires_grad_(True)
        for module in encoder.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                # However small the batches are, they are statistics of several hundred images.
                module.momentum = min(0.1, batch_size / _STATISTICS)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (N, A) of images (N, 3, S, S), uint8 or float in [0, 1]."""
        pixels = unit_range(images).contiguous(memory_format=torch.channels_last)
        logits: Tensor = self.probe(self.encoder.au_branch(self.encoder.backbone(pixels)).float())
        return logits

    def train(self, mode: bool = True) -> Detector:
        """Put into training mode what is trained, and nothing else."""
        super().train(False)
        self.encoder.backbone.train(mode)
        self.encoder.au_branch.train(mode)
        return self

    def rates(self, decay: float) -> dict[str, float]:
        """Return the share of the learning rate of each parameter that is trained, by name.

        The probe has the full rate. Each level of the encoder, from the embedding down to the
        pixels, has `decay` times that of the level above it.
        """
        levels = [*self.encoder.backbone.children(), *self.encoder.au_branch.children(), self.probe]
        levels = [level for level in levels if any(True for _ in level.parameters())]
        share_of = {
            parameter: decay**depth
            for depth, level in enumerate(reversed(levels))
            for parameter in level.parameters()
        }
        return {n: share_of[p] for n, p in self.named_parameters() if p in share_of}


@dataclass(frozen=True)
class FineTuned:
    """A fine-tuned encoder and its probe; predicts packed frames.

    Attributes:
        encoder: The encoder.
        probe: The probe.
        dataset: The packed frames.
        steps: For how many steps it was trained.
        held_out: (n,) which of the labelled frames are of people who only said when to stop.
    """

    encoder: FrozenEncoder
    probe: LinearProbe
    dataset: PackedDataset
    steps: int
    held_out: NDArray[np.bool_]

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the action units."""
        return self.probe.names

    def scores(self, frames: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the scores (n, A) of the packed frames with numbers (n,)."""
        return self.probe.scores(embed_frames(self.encoder, self.dataset, frames).au)


class FineTuner:
    """A way to fine-tune an encoder on labelled frames.

    Args:
        encoder: The encoder to start from.
        dataset: The packed frames.
        labels: Labels of some of them.
        folder: Directory for what resuming takes.
        config: How to fine-tune.
        targets: (N, A) intensities in [0, 1] to learn in place of the N rows of labels, NaN where
            unknown. None: the labels.
        seed: Of the people held out, the batches and their augmentation.

    Attributes:
        dataset: The packed frames.
        labels: The n labelled frames that can be read.
        failures: One line for each of the others.
        targets: (n, A) what is learned: their labels or their intensities.
    """

    def __init__(
        self,
        encoder: FrozenEncoder,
        dataset: PackedDataset,
        labels: LabelTable,
        folder: Path,
        config: FineTuningConfig,
        *,
        targets: NDArray[np.float32] | None = None,
        seed: int = 0,
    ) -> None:
        self._encoder, self.dataset = encoder, dataset
        self._folder, self._config, self._seed = folder, config, seed
        self._start = _starting_point(encoder.network)
        frames, size = labels.frame_index, encoder.image_size
        batches = PictureBatches(dataset, frames, _BATCH, encoder.crop, size)
        parts = [(readable, failures) for _, readable, failures in batches]
        readable = np.concatenate([part for part, _ in parts])
        self.failures = tuple(line for _, failures in parts for line in failures)
        self.labels = select(labels, readable)
        self.targets = self.labels.values if targets is None else targets[readable]

    def fit(
        self, rows: NDArray[np.bool_], name: str, share: float = 1.0, steps: int | None = None
    ) -> FineTuned:
        """Fine-tune on labelled frames, or go on where an earlier call was stopped.

        A part of the people is held out. The weights that tell their action units best, by the mean
        AUC, are kept.

        Args:
            rows: (n,) the frames to learn from.
            name: What lines about progress call it.
            share: Share of `config.minutes` that it may take.
            steps: Learn from everybody, for so many steps.

        Raises:
            Interrupted: A signal came, and the state was saved.
            ValueError: Fewer than two people, or no unit that has both classes.
        """
        subjects = np.array(self.labels.subjects)
        held_out = np.zeros(len(subjects), bool)
        if steps is None:
            chosen = held_out_subjects(subjects[rows].tolist(), _HELD_OUT, self._seed)
            held_out = rows & np.isin(subjects, chosen)
        learned = np.flatnonzero(rows & ~held_out)
        detector = self._detector(learned)
        stopping = None if steps is not None else self._stopping(detector, held_out)
        config = self._config
        recipe = Recipe(
            config.steps if steps is None else steps,
            config.batch_size,
            OptimizerConfig(learning_rate=config.learning_rate),
            minutes=config.minutes and share * config.minutes,
        )
        torch.manual_seed(self._seed)
        steps = fit(
            detector,
            partial(_losses, detector, config.augment),
            self._batches(detector, learned),
            recipe,
            self._folder / f"{name.replace(' ', '-')}.pt",
            name=name,
            stopping=stopping,
            rates=detector.rates(config.layer_decay),
        )
        return self._finished(detector, np.flatnonzero(rows), steps, held_out)

    def _detector(self, learned: NDArray[np.int64]) -> Detector:
        """Return the network to train: the encoder, with a probe fitted to its embeddings.

        Batch norm gets the statistics of these faces. Without, the first embeddings of the training
        would not be those that the probe was fitted to.
        """
        labels, encoder, device = self.labels, deepcopy(self._start), self._encoder.device
        frames = labels.frame_index[learned]
        branch = nn.Sequential(encoder.backbone, encoder.au_branch)
        faces = self._faces(_some(frames, _STATISTICS))
        calibrate_batch_norm(branch, lambda batch: branch(unit_range(batch.to(device))), faces)
        frozen = FrozenEncoder(encoder, self._encoder.template, self._encoder.crop)
        features = embed_frames(frozen, self.dataset, frames).au
        probe = fit_probe(features, labels.values[learned], labels.names, seed=self._seed)
        return Detector(encoder, probe.to(device), self._config.batch_size)

    def _batches(self, detector: Detector, learned: NDArray[np.int64]) -> LabelledBatches:
        columns = [self.labels.names.index(name) for name in detector.probe.names]
        return LabelledBatches(
            self.dataset,
            self.labels.frame_index[learned],
            self.targets[learned][:, columns],
            crop=self._encoder.crop,
            image_size=self._encoder.image_size,
            batch_size=self._config.batch_size,
            seed=self._seed,
            balanced=self.targets is self.labels.values,
        )

    def _stopping(self, detector: Detector, held_out: NDArray[np.bool_]) -> EarlyStopping:
        rows = _some(np.flatnonzero(held_out), _JUDGED)
        columns = [self.labels.names.index(name) for name in detector.probe.names]
        truth = self.labels.values[rows][:, columns]
        faces = self._faces(self.labels.frame_index[rows])

        def auc() -> float:
            return score(truth, _logits(detector, faces)).auc_mean

        return EarlyStopping(auc, "AUC of people held out", self._config.patience)

    def _faces(self, frames: NDArray[np.int64]) -> Tensor:
        return read_faces(self.dataset, frames, self._encoder.crop, self._encoder.image_size)

    def _finished(
        self,
        detector: Detector,
        rows: NDArray[np.int64],
        steps: int,
        held_out: NDArray[np.bool_],
    ) -> FineTuned:
        """Return encoder and probe as they are used. Decorrelation is fitted to the new encoder."""
        network, probe = detector.encoder.eval(), detector.probe
        decorrelation = deepcopy(self._encoder.network.decorrelation)
        if decorrelation is not None:
            faces = self._faces(self.labels.frame_index[_some(rows, _FACES)])
            with torch.no_grad():
                parts = [
                    network.correlated(b.to(self._encoder.device)) for b in faces.split(_BATCH)
                ]
            au, pose = (torch.cat(part) for part in zip(*parts, strict=True))
            decorrelation.refit(au, pose)
            network.decorrelation = decorrelation
        encoder = FrozenEncoder(network, self._encoder.template, self._encoder.crop)
        probe.encoder = encoder.fingerprint
        return FineTuned(encoder, probe.requires_grad_(False), self.dataset, steps, held_out)


def _some(items: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return so many of the items (n,), evenly spaced, or all if there are fewer."""
    return items[np.unique(np.linspace(0, len(items) - 1, count).astype(np.int64))]


def _starting_point(encoder: Encoder) -> Encoder:
    """Return a copy without decorrelation, with a backbone for the pose alone."""
    network = deepcopy(encoder)
    if network.pose_backbone is None:
        network.pose_backbone = deepcopy(network.backbone)
        network.config = replace(network.config, separate_backbones=True)
    network.decorrelation = None
    return network


def _losses(
    detector: Detector, augmented: bool, images: Tensor, labels: Tensor, weights: Tensor
) -> Tensor:
    """Compute the losses (B,) of a batch."""
    images = unit_range(images)
    with autocast(images.device, "auto"):
        return balanced_losses(
            detector, strongly_augment(images) if augmented else images, labels, weights
        )


@torch.no_grad()
def _logits(detector: Detector, faces: Tensor) -> NDArray[np.float32]:
    device = detector.probe.linear.weight.device
    parts = [detector(batch.to(device)).float().cpu() for batch in faces.split(_BATCH)]
    return torch.cat(parts).numpy()
