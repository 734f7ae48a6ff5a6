from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from tcae.experiments import training
from tcae.experiments.training import pair_batches, pretrain, supervise
from tcae.methods.method import Method
from tcae.training.config import PRESETS
from tcae.training.optimizer import OptimizerConfig
from tcae.training.simple_loop import Recipe

CPU = torch.device("cpu")


class Network(nn.Module):
    """Remembers what it is shown."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.linear = nn.Linear(3, units)
        self.shown: list[torch.Tensor] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.shown.append(images)
        return self.linear(images.float().mean((2, 3)) / 255)

    def losses(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.shown.append(torch.stack([source, target]))
        return self.linear(source.float().mean((2, 3)) / 255).square().mean(1)


def method(family: str, steps: int = 3) -> Method:
    recipe = Recipe(steps, 8, OptimizerConfig(warmup_steps=0))
    return Method("it", "It", family, lambda size, units: Network(units or 1), recipe)


@pytest.fixture
def config():
    return replace(PRESETS["default"], image_size=32)


def test_networks_see_the_pairs_of_the_twin_cycle(config, labelled, tmp_path):
    path = tmp_path / "it.pt"
    network = pretrain(method("self-supervised"), config, labelled.dataset, path, None, CPU)
    expected = pair_batches(config, labelled.dataset, "train", 8)
    for step, shown in enumerate(network.shown):
        assert torch.equal(shown, torch.stack(expected(step)))
    assert len(network.shown) == 3


def test_supervised_networks_see_no_frame_of_the_fold_they_are_tested_on(
    config, labelled, tmp_path
):
    learners = labelled.fold == 0
    path = tmp_path / "it.pt"
    network = supervise(method("supervised", 9), config, labelled, learners, path, None, CPU)
    shown = torch.cat(network.shown).numpy().transpose(0, 2, 3, 1)
    allowed = labelled.labels.frame_index[learners]
    crop = config.pairs.centre_crop
    pictures = [training.centre(labelled.dataset.read(int(i)), crop, 32) for i in allowed]
    known = {p.tobytes() for picture in pictures for p in (picture, picture[:, ::-1].copy())}
    assert len(shown) == 72 and all(picture.tobytes() in known for picture in shown)


def test_supervised_losses_are_balanced_and_masked(config, labelled, tmp_path, monkeypatch):
    """The weights of a step, against the definition for the labels of the learners."""
    asked = {}

    def fit(network, losses, batch_of, *args, **options):
        asked["batch"], asked["losses"] = batch_of(0), losses

    monkeypatch.setattr(training, "fit", fit)
    learners = labelled.fold == 1
    supervise(method("supervised"), config, labelled, learners, tmp_path / "a", None, CPU)
    images, wanted, weight = asked["batch"]
    values = labelled.labels.values[learners]
    row = np.random.default_rng([config.seed, 0]).integers(len(values), size=8)[0]
    for a, value in enumerate(values[row]):
        known = values[~np.isnan(values[:, a]), a]
        share = (known == value).mean() if len(known) else 0
        one_class = len(set(known)) < 2
        expected = 0.0 if np.isnan(value) or one_class else 0.5 / share
        assert float(weight[0, a]) == pytest.approx(expected, rel=1e-5)
        assert float(wanted[0, a]) == np.nan_to_num(value)
    assert asked["losses"](images, wanted, weight).shape == (8,)


def test_minutes_bring_the_short_recipe():
    recipe = training._recipe(method("supervised"), 2.0)
    assert recipe.minutes == 2.0 and recipe.optimizer == training.SHORT_OPTIMIZER
    assert training._recipe(method("supervised"), None).minutes is None
