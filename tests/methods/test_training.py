from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from tcae.data.labels import select
from tcae.methods import training
from tcae.methods.method import Material
from tcae.methods.training import pair_batches, pretrain, supervise
from tcae.training.config import PRESETS
from tcae.training.optimizer import OptimizerConfig
from tcae.training.simple_loop import Recipe


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


def recipe(steps: int = 3) -> Recipe:
    return Recipe(steps, 8, OptimizerConfig(warmup_steps=0))


@pytest.fixture
def config():
    return replace(PRESETS["default"], image_size=32)


def test_networks_see_the_pairs_of_the_twin_cycle(config, labelled, tmp_path):
    material = Material(labelled.dataset, config, tmp_path / "it")
    network = pretrain("it", lambda size: Network(1), recipe(), material)
    expected = pair_batches(config, labelled.dataset, "train", 8)
    for step, shown in enumerate(network.shown):
        assert torch.equal(shown, torch.stack(expected(step)))
    assert len(network.shown) == 3


def test_supervised_networks_see_no_frame_of_the_fold_they_are_tested_on(
    config, labelled, tmp_path
):
    learners = labelled.fold == 0
    labels = select(labelled.labels, learners)
    material = Material(labelled.dataset, config, tmp_path / "it", labels=labels)
    network = supervise(lambda size, units: Network(units), recipe(9), material)
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
    labels = select(labelled.labels, learners)
    material = Material(labelled.dataset, config, tmp_path / "a", labels=labels)
    supervise(lambda size, units: Network(units), recipe(), material)
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
    short = training._recipe(recipe(), 2.0)
    assert short.minutes == 2.0 and short.optimizer == training.SHORT_OPTIMIZER
    assert training._recipe(recipe(), None).minutes is None
