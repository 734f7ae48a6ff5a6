from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tcae.data.labels import LabelTable
from tcae.data.mixture import Mixture
from tcae.data.shards import PackedDataset
from tcae.data.splits import split_of
from tcae.models.encoder import Embeddings, Encoder
from tcae.training.config import TrainConfig
from tcae.training.held_out_probe import HeldOutProbe, held_out_labels, held_out_probe

CPU = torch.device("cpu")
PEOPLE = 12


class Reads(nn.Module):
    """An encoder whose embedding is the mean colour of each picture; in training it is noise."""

    def forward(self, images: Tensor) -> Embeddings:
        colours = images.float().mean((2, 3)) / 255
        noise = torch.rand(len(images), 3, generator=torch.Generator().manual_seed(3))
        return Embeddings(noise if self.training else colours, colours)


@pytest.fixture
def labelled() -> tuple[Tensor, LabelTable]:
    """200 pictures that are red where unit 1 is, and of unit 2 show nothing; unit 3 never is."""
    generator = np.random.default_rng(0)
    values = generator.integers(0, 2, (200, 3)).astype(np.float64)
    values[:, 2] = 0
    pictures = torch.from_numpy(generator.integers(0, 100, (200, 3, 4, 4), np.uint8))
    pictures[:, 0] += torch.from_numpy(100 * values[:, 0]).to(torch.uint8)[:, None, None]
    values[generator.random((200, 3)) < 0.3] = np.nan
    subjects = tuple(f"p{i % PEOPLE}" for i in range(200))
    return pictures, LabelTable(("AU01", "AU02", "AU03"), values, subjects, np.arange(200))


def test_the_auc_is_that_of_what_the_embedding_shows(labelled: tuple[Tensor, LabelTable]) -> None:
    pictures, labels = labelled
    encoder = cast(Encoder, Reads())
    auc = HeldOutProbe(pictures, labels, CPU).auc(encoder)
    assert encoder.training  # as before
    assert auc == pytest.approx((1.0 + 0.5) / 2, abs=0.06)
    only_seen = replace(labels, names=("AU01",), values=labels.values[:, :1])
    assert HeldOutProbe(pictures, only_seen, CPU).auc(encoder) > 0.999
    never = replace(labels, names=("AU03",), values=labels.values[:, 2:])
    assert np.isnan(HeldOutProbe(pictures, never, CPU).auc(encoder))


def test_its_people_are_not_trained_on_and_their_frames_no_more_than_asked(
    faces: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config, dataset = TrainConfig(image_size=32), PackedDataset(faces)
    labels = held_out_labels(dataset, config.pairs.split_seed)
    assert {split_of(subject) for subject in labels.subjects} == {"val", "test"}
    whole = held_out_probe(Mixture(dataset), config, CPU)
    assert whole is not None and len(whole._pictures) == len(labels.subjects)
    assert whole._pictures.shape[1:] == (3, 32, 32)
    fewer = replace(config, validation=replace(config.validation, probe_frames=10))
    some = held_out_probe(Mixture(dataset), fewer, CPU)
    assert some is not None and len(some._pictures) == 10
    assert len(set(some._labels.subjects)) > 3  # spread over people
    for none in (
        replace(config, validation=replace(config.validation, probe_frames=0)),
        replace(config, pairs=replace(config.pairs, split="time")),
    ):
        assert held_out_probe(Mixture(dataset), none, CPU) is None
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in faces.iterdir():
        (broken / path.name).symlink_to(path)
    (broken / "labels.csv").unlink()
    (broken / "labels.csv").write_text("no table\n")
    assert held_out_probe(Mixture(PackedDataset(broken)), config, CPU) is None
    assert "validation does not probe action units: " in caplog.text
