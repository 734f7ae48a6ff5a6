"""Methods that have to learn, trained as far as that is not done yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
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
from tcae.experiments.setting import Labelled
from tcae.methods.method import Method
from tcae.models.encoder_file import ENCODER_FILE
from tcae.training.config import TrainConfig, with_steps
from tcae.training.optimizer import OptimizerConfig
from tcae.training.run_directory import find_run, prepare_run
from tcae.training.simple_loop import Interrupted, Recipe, fit
from tcae.training.trainer import Trainer

_VALIDATION_BATCHES = 4

SHORT_OPTIMIZER = OptimizerConfig(learning_rate=1e-3)
"""Of all networks where minutes are short: the published schedules need days to begin to learn."""


def train_twin_cycle(
    config: TrainConfig,
    dataset: PackedDataset,
    change: Callable[[nn.Module], object] = lambda model: None,
) -> Trainer:
    """Train a twin cycle in the run directory `config.out`, or go on with it.

    Args:
        config: How.
        dataset: Packed frames.
        change: What is done to the model when it has been made.

    Returns:
        The trainer of the finished run, whose encoder is exported.

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


def pretrain(
    method: Method,
    config: TrainConfig,
    dataset: PackedDataset,
    path: Path,
    minutes: float | None,
    device: torch.device,
) -> Any:
    """Train a self-supervised network on the pairs that the twin cycle is trained on.

    Args:
        method: Which.
        config: Of the twin cycle; pairs, image size and seed are taken from it.
        dataset: Packed frames.
        path: File of its weights.
        minutes: At most so long; None: as its recipe says.
        device: Where.

    Returns:
        The network, in evaluation mode.
    """
    torch.manual_seed(config.seed)
    network = _network(method, config.image_size, 0, device)
    recipe = _recipe(method, minutes)

    validating = pair_batches(config, dataset, "val", recipe.batch_size)
    validation = [validating(step) for step in range(_VALIDATION_BATCHES)]
    train = pair_batches(config, dataset, "train", recipe.batch_size)
    fit(network, network.losses, train, recipe, path, name=method.name, validation=validation)
    return network


def pair_batches(
    config: TrainConfig, dataset: PackedDataset, split: Split, batch_size: int
) -> Callable[[int], tuple[Tensor, Tensor]]:
    """The sources and targets (B, 3, S, S) of a step, drawn as the twin cycle's are."""
    pairs = PairBatches(
        dataset, split, batch_size, config.seed, image_size=config.image_size, config=config.pairs
    )

    def batch_of(step: int) -> tuple[Tensor, Tensor]:
        batch = pairs[step]
        return batch["source"], batch["target"]

    return batch_of


def supervise(
    method: Method,
    config: TrainConfig,
    labelled: Labelled,
    learners: NDArray[np.bool_],
    path: Path,
    minutes: float | None,
    device: torch.device,
) -> Any:
    """Train a supervised network on some of the labelled frames.

    The loss is the probe's: binary cross entropy, classes balanced, unknown labels masked. Half of
    the images are mirrored.

    Args:
        method: Which.
        config: Of the twin cycle; crop, image size and seed are taken from it.
        labelled: What it learns.
        learners: (n,) the frames that it sees; all can be read.
        path: File of its weights.
        minutes: At most so long; None: as its recipe says.
        device: Where.

    Returns:
        The network, in evaluation mode.
    """
    torch.manual_seed(config.seed)
    labels = labelled.labels
    network = _network(method, config.image_size, len(labels.names), device)
    recipe = _recipe(method, minutes)
    rows = np.flatnonzero(learners)
    values = labels.values[rows]
    negative, positive = class_weights(values)
    weights = np.where(values == 1, positive, negative) * ~np.isnan(values)
    crop, size = config.pairs.centre_crop, config.image_size

    def batch_of(step: int) -> tuple[Tensor, ...]:
        random = np.random.default_rng([config.seed, step])
        chosen = random.integers(len(rows), size=recipe.batch_size)
        frames = labels.frame_index[rows[chosen]]
        mirrored = random.random(len(frames)) < 0.5
        pictures = [centre(labelled.dataset.read(int(i)), crop, size) for i in frames]
        seen = [p[:, ::-1] if m else p for p, m in zip(pictures, mirrored, strict=True)]
        images = torch.from_numpy(np.stack(seen)).permute(0, 3, 1, 2)
        wanted = np.nan_to_num(values[chosen]).astype(np.float32)
        return images, torch.from_numpy(wanted), torch.from_numpy(np.float32(weights[chosen]))

    def losses(images: Tensor, wanted: Tensor, weight: Tensor) -> Tensor:
        logits = network(images)
        return binary_cross_entropy_with_logits(logits, wanted, weight, reduction="none").mean(1)

    fit(network, losses, batch_of, recipe, path, name=path.stem)
    return network


def _network(method: Method, image_size: int, units: int, device: torch.device) -> Any:
    # In this layout convolutions take half the time on a CPU.
    return method.build(image_size, units).to(device, memory_format=torch.channels_last)


def _recipe(method: Method, minutes: float | None) -> Recipe:
    assert method.recipe is not None
    if minutes is None:
        return method.recipe
    return replace(method.recipe, batch_size=32, optimizer=SHORT_OPTIMIZER, minutes=minutes)
