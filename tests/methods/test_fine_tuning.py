from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import softplus

from tcae.data.align import DEFAULT_TEMPLATE
from tcae.data.labels import LabelTable
from tcae.data.shards import PackedDataset
from tcae.evaluation.embedding import embed_frames, read_faces
from tcae.evaluation.labelled_frames import LabelledFrames
from tcae.evaluation.linear_probe import LinearProbe
from tcae.evaluation.metrics import score
from tcae.evaluation.protocol import cross_validate, out_of_fold
from tcae.methods.fine_tuning import Detector, FineTuner, FineTuningConfig
from tcae.methods.training import LabelledBatches, balanced_losses
from tcae.models.encoder import Encoder
from tcae.models.encoder_file import FrozenEncoder
from tcae.models.model_config import ModelConfig

QUICK = FineTuningConfig(steps=4, batch_size=8, learning_rate=0.01)


def small_encoder(embedding_size: int = 8, **changes) -> FrozenEncoder:
    torch.manual_seed(0)
    config = ModelConfig(base_filters=4, embedding_size=embedding_size, pose_size=3, **changes)
    return FrozenEncoder(Encoder(config, 32), DEFAULT_TEMPLATE.to_dict(), 0.9)


@pytest.fixture
def tune(labelled: LabelledFrames, tmp_path: Path) -> Callable[..., FineTuner]:
    """Function from labels, an encoder and options to a `FineTuner` in a folder of its own."""
    made: list[int] = []

    def make(labels=None, encoder=None, config=QUICK, **options) -> FineTuner:
        made.append(0)
        folder = tmp_path / str(len(made))
        labels = labelled.labels if labels is None else labels
        encoder = encoder or small_encoder()
        return FineTuner(encoder, labelled.dataset, labels, folder, config, **options)

    return make


def everybody(tuner: FineTuner) -> np.ndarray:
    return np.ones(len(tuner.labels.frame_index), bool)


@pytest.fixture
def dots(pack_frames) -> tuple[PackedDataset, LabelTable]:
    """Pictures of 24 people in colours of their own; a dot is high (AU01) or low in them."""
    random = np.random.default_rng(0)
    up = random.random((24, 16)) < 0.5
    place = random.integers(8, 23, (24, 16))

    def picture(clip: int, frame: int) -> np.ndarray:
        shades = np.random.default_rng([clip, frame])
        rgb = shades.uniform(30, 200, 3) + shades.normal(0, 8, (32, 32, 3))
        row = 10 if up[clip, frame] else 20
        rgb[row : row + 3, place[clip, frame] : place[clip, frame] + 3] = 255
        return rgb.clip(0, 255)

    clips = {(f"p{i:02d}", f"p{i:02d}", "0"): 16 for i in range(24)}
    dataset = PackedDataset(pack_frames(clips, picture=picture))
    people = tuple(dataset.identity(i) for i in range(24 * 16))
    values = up.reshape(-1, 1).astype(np.float32)
    return dataset, LabelTable(("AU01",), values, people, np.arange(24 * 16))


def test_learns_what_a_linear_probe_cannot_read(dots, tmp_path: Path) -> None:
    """The embedding of random weights tells colours, hardly where a small dot is."""
    dataset, labels = dots
    encoder = small_encoder(2)
    config = FineTuningConfig(steps=80, batch_size=32, learning_rate=0.01)
    tuner = FineTuner(encoder, dataset, labels, tmp_path, config)
    fold = np.array([int(name[1:]) % 2 for name in labels.subjects])
    count = iter(range(2))

    def fit(rows: np.ndarray):
        return tuner.fit(rows, f"fold {next(count)}")

    tuned = out_of_fold(fit, labels.frame_index, labels, fold)
    embedded = embed_frames(encoder, dataset, labels.frame_index)
    probed = cross_validate(embedded, labels, folds=dict(zip(labels.subjects, fold, strict=True)))
    assert probed.scores.auc_mean < 0.75
    assert score(labels.values, tuned).auc_mean > 0.95


def test_nothing_leaks_from_the_people_of_the_tested_fold(tune, labelled) -> None:
    """Neither the weights nor the moment to stop depends on their labels."""
    labels, fold = labelled.labels, labelled.folds
    mine = fold == 1
    values = np.where(mine[:, None], 1 - labels.values, labels.values)
    others = dataclasses.replace(labels, values=values)
    frames = labels.frame_index[mine]
    first, second = (tune(given).fit(fold != 1, "it").scores(frames) for given in (labels, others))
    np.testing.assert_array_equal(first, second)
    learned = tune(others).fit(fold != 0, "it").scores(frames)
    assert (tune(labels).fit(fold != 0, "it").scores(frames) != learned).any()


def test_people_who_say_when_to_stop_are_not_learned_from(tune, monkeypatch) -> None:
    learned: set[str] = set()
    read: list[set[str]] = []

    class Batches(LabelledBatches):
        def __init__(self, dataset, frames, values, **options) -> None:
            learned.update(dataset.identity(int(i)) for i in frames)
            super().__init__(dataset, frames, values, **options)

    def faces(dataset, frames, *args):
        read.append({dataset.identity(int(i)) for i in frames})
        return read_faces(dataset, frames, *args)

    monkeypatch.setattr("tcae.methods.fine_tuning.LabelledBatches", Batches)
    monkeypatch.setattr("tcae.methods.fine_tuning.read_faces", faces)
    tuner = tune()
    rows = np.array([subject < "p000020" for subject in tuner.labels.subjects])
    tuner.fit(rows, "it")
    of_batch_norm, judged, of_decorrelation = read
    assert len(judged) == 3 and not judged & learned
    assert of_batch_norm == learned
    assert of_decorrelation == judged | learned == {f"p{i:06d}" for i in range(20)}


def test_a_given_number_of_steps_learns_from_everybody(tune, monkeypatch) -> None:
    learned: list[int] = []

    class Batches(LabelledBatches):
        def __init__(self, dataset, frames, values, **options) -> None:
            learned.append(len(frames))
            super().__init__(dataset, frames, values, **options)

    monkeypatch.setattr("tcae.methods.fine_tuning.LabelledBatches", Batches)
    tuner = tune()
    assert tuner.fit(everybody(tuner), "it", steps=2).steps == 2
    assert learned == [160]


@pytest.mark.parametrize("separate", [True, False])
def test_the_pose_embedding_stays_as_it_was(tune, labelled, separate: bool) -> None:
    encoder = small_encoder(separate_backbones=separate)
    tuner = tune(encoder=encoder)
    tuned = tuner.fit(everybody(tuner), "it", steps=3).encoder
    faces = read_faces(labelled.dataset, np.arange(20), 0.9, 32)
    before, after = encoder.embed(faces), tuned.embed(faces)
    assert torch.equal(before.pose, after.pose)
    assert not torch.allclose(before.au, after.au, atol=1e-3)
    assert tuned.network.config.separate_backbones


def test_the_embedding_is_decorrelated_anew(tune, labelled) -> None:
    tuner = tune(encoder=small_encoder(decorrelate=True))
    tuned = tuner.fit(everybody(tuner), "it", steps=30).encoder
    faces = read_faces(labelled.dataset, labelled.labels.frame_index, 0.9, 32)
    au, pose = (part.numpy().astype(float) for part in tuned.embed(faces))
    correlation = np.corrcoef(au.T, pose.T)[:8, 8:]
    raw = tuned.network.correlated(faces.float() / 255).au.numpy().astype(float)
    assert np.abs(correlation).max() < 0.05 < np.abs(np.corrcoef(raw.T, pose.T)[:8, 8:]).max()


def test_without_decorrelation_the_probe_sees_what_was_trained(tune, labelled) -> None:
    tuner = tune(encoder=small_encoder(decorrelate=False))
    tuned = tuner.fit(everybody(tuner), "it", steps=3)
    assert tuned.encoder.network.decorrelation is None
    assert tuned.probe.encoder == tuned.encoder.fingerprint
    faces = read_faces(labelled.dataset, np.arange(20), 0.9, 32)
    expected = tuned.probe(tuned.encoder.embed(faces).au).sigmoid().numpy()
    np.testing.assert_allclose(tuned.scores(np.arange(20)), expected, atol=1e-6)


def test_rates_fall_towards_the_pixels() -> None:
    network = small_encoder().network
    detector = Detector(network, LinearProbe(8, ["AU01"]), 8)
    rates = detector.rates(0.5)
    assert not [name for name in rates if "pose" in name]
    trained = {n for n, p in detector.named_parameters() if p.requires_grad}
    assert set(rates) == trained
    assert rates["probe.linear.weight"] == rates["probe.norm.weight"] == 1.0
    assert rates["encoder.au_branch.2.weight"] == 0.5  # the level of the embedding
    levels = 5  # 32 pixels are halved five times
    assert rates["encoder.backbone.0.0.weight"] == 0.5**levels
    assert set(rates.values()) == {0.5**depth for depth in range(levels + 1)}


def test_running_statistics_are_those_of_many_images(tune, labelled) -> None:
    """With two images in a batch they still come near those of all images at once."""
    config = FineTuningConfig(steps=400, batch_size=2, learning_rate=1e-9, augment=False)
    tuner = tune(config=config)
    norm = tuner.fit(everybody(tuner), "it", steps=400).encoder.network.backbone[0][1]
    faces = read_faces(labelled.dataset, labelled.labels.frame_index, 0.9, 32).float() / 255
    maps = small_encoder().network.backbone[0][0](faces)
    mean, spread = maps.mean((0, 2, 3)), maps.std((0, 2, 3))
    assert ((norm.running_mean - mean).abs() / spread).max() < 0.15


def test_training_starts_from_what_the_probe_was_fitted_to(tune, labelled, monkeypatch) -> None:
    """Although the encoder's batch norms have statistics of nothing, its first loss is small."""
    said: list[str] = []
    monkeypatch.setattr("tcae.training.simple_loop.say", said.append)
    tuner = tune(config=dataclasses.replace(QUICK, steps=1, batch_size=64, augment=False))
    tuner.fit(everybody(tuner), "it")
    (line,) = said
    assert float(line.split("loss ")[1].split()[0]) < 0.9


def test_intensities_are_mixtures_of_both_labels(labelled) -> None:
    """The loss of an intensity r is r times that of a 1 and 1 - r times that of a 0, unbalanced."""
    random = np.random.default_rng(0)
    values = random.random((len(labelled.labels.frame_index), 3)).astype(np.float32)
    values[random.random(values.shape) < 0.2] = np.nan
    logits = torch.tensor([[0.7, -1.2, 0.1]]).repeat(16, 1)
    batches = LabelledBatches(
        labelled.dataset,
        labelled.labels.frame_index,
        values,
        crop=0.9,
        image_size=32,
        batch_size=16,
        seed=0,
        balanced=False,
    )
    images, labels, weights = batches(0)
    losses = balanced_losses(lambda _: logits, images, labels, weights)  # type: ignore[arg-type]
    chosen = np.random.default_rng([0, 0]).integers(len(values), size=16)
    truth = torch.from_numpy(values[chosen]).double()
    expected = truth * softplus(-logits) + (1 - truth) * softplus(logits)
    torch.testing.assert_close(losses.double(), expected.nan_to_num().mean(1), rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0),
        ("batch_size", 1),
        ("patience", 0),
        ("learning_rate", 0.0),
        ("layer_decay", 1.1),
        ("minutes", 0.0),
    ],
)
def test_impossible_settings_are_named(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{field} is {value}"):
        FineTuningConfig(**{field: value})  # type: ignore[arg-type]


def test_one_person_cannot_be_held_out_from(tune) -> None:
    tuner = tune()
    rows = np.array([subject == "p000000" for subject in tuner.labels.subjects])
    with pytest.raises(ValueError, match="2 subjects are needed to hold one out, 1 came"):
        tuner.fit(rows, "it")
