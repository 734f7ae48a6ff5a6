from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch

from tcae.data.shards import PackedDataset
from tcae.models.encoder_file import load_encoder
from tcae.training.config import TrainConfig
from tcae.training.refit_decorrelation import refit_decorrelation
from tcae.training.trainer import Trainer


@pytest.fixture
def trainer(tiny: TrainConfig) -> Trainer:
    return new_trainer(tiny)


def new_trainer(config: TrainConfig) -> Trainer:
    assert config.data is not None and config.out is not None
    config.out.mkdir()
    return Trainer(config, PackedDataset(config.data), config.out)


def test_a_run_ends_with_the_moments_of_training_faces_in_eval_mode(trainer: Trainer) -> None:
    """Those of the pairs that the next steps would have had, as numpy has them."""
    assert trainer.fit() == 0
    model = trainer.model.double().eval()
    faces = [trainer.data.pairs[step] for step in range(12, 24)]
    images = torch.cat([batch[name] for batch in faces for name in ("source", "target")])
    with torch.no_grad():
        au, pose = model.encoder.correlated(images.double() / 255)
    found = model.encoder.decorrelation
    assert found is not None
    joint = np.cov(pose.numpy().T, au.numpy().T, bias=True)
    expected = {
        "mean": au.mean(0),
        "known_mean": pose.mean(0),
        "covariance": torch.from_numpy(joint[: len(pose.T), : len(pose.T)]),
        "cross": torch.from_numpy(joint[: len(pose.T), len(pose.T) :]),
    }
    for name, value in expected.items():
        moment = getattr(found, name)
        assert (moment - value).norm() < 1e-4 * value.norm(), name
    exported = load_encoder(trainer.export_encoder()).embed(images).au
    torch.testing.assert_close(exported.double(), found(au, pose), rtol=1e-4, atol=1e-4)


def test_nothing_but_the_moments_moves(trainer: Trainer) -> None:
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    refit_decorrelation(trainer.model, trainer.data.pairs, steps=3)
    after = trainer.model.state_dict()
    moved = {name for name, value in before.items() if not value.equal(after[name])}
    moments = ("mean", "known_mean", "covariance", "cross")
    assert moved == {f"encoder.decorrelation.{name}" for name in moments}
    assert trainer.model.training and trainer.model.encoder.training


def test_enough_faces_are_enough(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(
        "tcae.training.refit_decorrelation._FACES", 30
    )  # nearly four batches of eight
    take: Callable[[int], dict[str, torch.Tensor]] = type(trainer.data.pairs).__getitem__
    monkeypatch.setattr(
        type(trainer.data.pairs), "__getitem__", lambda pairs, i: asked.append(i) or take(pairs, i)
    )
    refit_decorrelation(trainer.model, trainer.data.pairs, steps=12)
    assert asked == [12, 13, 14, 15]


def test_a_model_without_decorrelation_has_nothing_to_settle(tiny: TrainConfig) -> None:
    model = dataclasses.replace(tiny.model, decorrelate=False)
    trainer = new_trainer(dataclasses.replace(tiny, model=model))
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    refit_decorrelation(trainer.model, trainer.data.pairs, steps=12)
    after = trainer.model.state_dict()
    assert all(value.equal(after[name]) for name, value in before.items())
