"""Training of the methods that have to learn. What is trained already is not trained again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from tcae.data.pairs import PairBatches
from tcae.data.pictures import centre
from tcae.data.shards import PackedDataset
from tcae.data.splits import Split
from tcae.evaluation.linear_probe import class_weights
from tcae.methods.feature_encoder import FeatureEncoder
from tcae.methods.method import Material, Method
from tcae.models.encoder_file import ENCODER_FILE
from tcae.training.config import TrainConfig, with_steps
from tcae.training.optimizer import OptimizerConfig
from tcae.training.run_directory import find_run, prepare_run
from tcae.training.simple_loop import Interrupted, Recipe, fit
from tcae.training.trainer import Trainer

_VALIDATION_BATCHES = 4
_WEIGHTS = "network.pt"

SHORT_OPTIMIZER = OptimizerConfig(learning_rate=1e-3)
"""The optimiser if minutes are limited. With the published ones, learning takes days to begin."""

SUPERVISED_RECIPE = Recipe(
    steps=20_000, batch_size=64, optimizer=OptimizerConfig(learning_rate=3e-4)
)
"""About nine passes over BP4D's frames. Ours, because the published recipes differ."""


def self_supervised(name: str, title: str, build: Callable[[int], Any], recipe: Recipe) -> Method:
    """Define a method that learns from pairs of frames of one person.

    Args:
        name: Its name in commands and files.
        title: Its name in tables.
        build: Builds the network for images of a given side. The network has the methods
            `losses(source, target)`, with one value per pair of images, and `embed(images)`.
        recipe: How its authors train it.
    """

    def make(material: Material) -> FeatureEncoder:
        return material.encoder(pretrain(name, build, recipe, material))

    return Method(name, title, "self-supervised", make, "baseline")


def supervised(name: str, title: str, build: Callable[[int, int], nn.Module]) -> Method:
    """Define a method that learns from labels.

    Args:
        name: Its name in commands and files.
        title: Its name in tables.
        build: Builds the network for images of a given side and a number of action units A. Calling
            the network with images returns logits (N, A).
    """

    def make(material: Material) -> FeatureEncoder:
        network = supervise(build, SUPERVISED_RECIPE, material)
        return material.encoder(_Probabilities(network))

    return Method(name, title, "supervised", make, "fold")


class _Probabilities(nn.Module):
    """A network of logits, with probabilities as its embedding."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def embed(self, images: Tensor) -> Tensor:
        """Compute probabilities (N, A) of action units in images (N, 3, S, S)."""
        probabilities: Tensor = self.network(images).sigmoid()
        return probabilities


def train_twin_cycle(
    config: TrainConfig,
    dataset: PackedDataset,
    change: Callable[[nn.Module], object] = lambda model: None,
) -> Trainer:
    """Train a twin cycle in the run directory `config.out`, or resume that run.

    Args:
        config: How to train.
        dataset: Packed frames.
        change: Called with the new model, to change it.

    Returns:
        The trainer of the finished run. The encoder is exported.

    Raises:
        Interrupted: A signal came, and a checkpoint was written.
    """
    config = with_steps(replace(config, resume="auto"))
    run, state = find_run(config)
    trainer = Trainer(config, dataset, run, state)
    change(trainer.model)
    if not (run / ENCODER_FILE).exists():
        prepare_run(run, config, state)
        signal = trainer.fit()
        if signal:
            raise Interrupted(signal)
        trainer.export_encoder()
    return trainer


def pretrain(name: str, build: Callable[[int], Any], recipe: Recipe, material: Material) -> Any:
    """Train a self-supervised network on the pairs that the twin cycle is trained on.

    Args:
        name: The name in lines about progress.
        build: Builds the network; see `self_supervised`.
        recipe: How to train if minutes are not limited.
        material: What to learn from. It has a folder.

    Returns:
        The network, in evaluation mode.
    """
    config, dataset = material.config, material.frames(name)
    torch.manual_seed(config.seed)
    network = _to_device(build(config.image_size), material)
    recipe = _recipe(recipe, material.minutes)

    validation_batch = pair_batches(config, dataset, "val", recipe.batch_size)
    validation = [validation_batch(step) for step in range(_VALIDATION_BATCHES)]
    train = pair_batches(config, dataset, "train", recipe.batch_size)
    path = _folder(material) / _WEIGHTS
    fit(network, network.losses, train, recipe, path, name=name, validation=validation)
    return network


def pair_batches(
    config: TrainConfig, dataset: PackedDataset, split: Split, batch_size: int
) -> Callable[[int], tuple[Tensor, Tensor]]:
    """Return a function from a step to its sources and targets (B, 3, S, S), as TCAE gets them."""
    pairs = PairBatches(
        dataset, split, batch_size, config.seed, image_size=config.image_size, config=config.pairs
    )

    def batch_of(step: int) -> tuple[Tensor, Tensor]:
        batch = pairs[step]
        return batch["source"], batch["target"]

    return batch_of


def supervise(build: Callable[[int, int], Any], recipe: Recipe, material: Material) -> Any:
    """Train a network on labelled frames.

    The loss is that of the probe: binary cross entropy with balanced classes, without unknown
    labels. Half of the images are mirrored.

    Args:
        build: Builds the network; see `supervised`.
        recipe: How to train if minutes are not limited.
        material: What to learn from. It has labels and a folder, and all its frames can be read.

    Returns:
        The network, in evaluation mode.
    """
    config, labels, folder = material.config, material.labels, _folder(material)
    if labels is None:
        raise ValueError(f"{folder.name}: needs labels to learn from")
    dataset = material.frames(folder.name)
    torch.manual_seed(config.seed)
    network = _to_device(build(config.image_size, len(labels.names)), material)
    recipe = _recipe(recipe, material.minutes)
    batches = LabelledBatches(
        dataset,
        labels.frame_index,
        labels.values,
        crop=config.pairs.centre_crop,
        image_size=config.image_size,
        batch_size=recipe.batch_size,
        seed=config.seed,
    )
    losses = partial(balanced_losses, network)
    fit(network, losses, batches, recipe, folder / _WEIGHTS, name=folder.name)
    return network


class LabelledBatches:
    """Random batches of labelled frames. Called with a step, it returns that step's batch.

    A batch has images (B, 3, S, S) uint8, half of them mirrored, their labels (B, A) and the
    weights of these (B, A): classes are balanced as for the probe, unknown labels weigh nothing.

    Args:
        dataset: The packed frames. All that are labelled can be read.
        frames: (n,) the labelled ones of them.
        values: (n, A) labels 0 or 1, or intensities in [0, 1], NaN where unknown.
        crop: Side of the centred part to show, as a share of the frame's.
        image_size: Side of the images in pixels.
        batch_size: Frames in a batch.
        seed: Seed of the draw.
        balanced: Whether classes are balanced. For intensities they are not: what is learned then
            is the intensity to be expected.
    """

    def __init__(
        self,
        dataset: PackedDataset,
        frames: NDArray[np.int64],
        values: NDArray[np.float32],
        *,
        crop: float,
        image_size: int,
        batch_size: int,
        seed: int,
        balanced: bool = True,
    ) -> None:
        self._dataset, self._frames = dataset, frames
        self._crop, self._image_size = crop, image_size
        self._batch_size, self._seed = batch_size, seed
        self._labels = np.nan_to_num(values).astype(np.float32)
        weights = np.ones_like(values)
        if balanced:
            negative, positive = class_weights(values)
            weights = np.where(values == 1, positive, negative)
        self._weights = np.float32(weights * ~np.isnan(values))

    def __call__(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the images, labels and weights of a step."""
        random = np.random.default_rng([self._seed, step])
        chosen = random.integers(len(self._frames), size=self._batch_size)
        mirrored = random.random(len(chosen)) < 0.5
        pictures = [
            centre(self._dataset.read(int(i)), self._crop, self._image_size)
            for i in self._frames[chosen]
        ]
        pictures = [p[:, ::-1] if m else p for p, m in zip(pictures, mirrored, strict=True)]
        images = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
        labels, weights = (torch.from_numpy(a[chosen]) for a in (self._labels, self._weights))
        return images, labels, weights


def balanced_losses(network: nn.Module, images: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Compute the losses (B,) of a network's logits, with a weight (B, A) for each label."""
    logits = network(images)
    return binary_cross_entropy_with_logits(logits, labels, weights, reduction="none").mean(1)


def _to_device(network: Any, material: Material) -> Any:
    # Convolutions take half the time in this layout on a CPU.
    return network.to(material.device, memory_format=torch.channels_last)


def _folder(material: Material) -> Path:
    assert material.folder is not None  # every training has one
    return material.folder


def _recipe(recipe: Recipe, minutes: float | None) -> Recipe:
    if minutes is None:
        return recipe
    return replace(recipe, batch_size=32, optimizer=SHORT_OPTIMIZER, minutes=minutes)
