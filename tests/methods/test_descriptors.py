from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from tcae.data.align import DEFAULT_TEMPLATE
from tcae.data.shards import PackedDataset
from tcae.evaluation.embedding import read_faces
from tcae.methods.alexnet import AlexNet
from tcae.methods.deforming_ae import DeformingAutoencoder
from tcae.methods.drml import Drml
from tcae.methods.fab_net import FabNet
from tcae.methods.feature_table import read_features
from tcae.methods.method import Material
from tcae.methods.pixels import Pixels
from tcae.methods.random_weights import untrained
from tcae.methods.registry import METHODS, face_encoder
from tcae.methods.resnet import ResNet
from tcae.methods.split_brain import SplitBrain
from tcae.methods.twin_cycle import twin_cycle_from
from tcae.models.encoder import Encoder
from tcae.models.encoder_file import load_encoder, save_encoder
from tcae.models.face_encoder import FaceEncoder
from tcae.models.model_config import ModelConfig
from tcae.training.config import PRESETS


def images(count: int = 3, size: int = 64) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=random)


TRAINED = ("tcae", "tcae_fine_tuned")
NETWORKS = {
    "alexnet": lambda: AlexNet(64, 2),
    "drml": lambda: Drml(64, 2),
    "resnet": lambda: ResNet(64, 2),
    "split_brain": lambda: SplitBrain(64),
    "deforming_ae": lambda: DeformingAutoencoder(64),
    "fab_net": lambda: FabNet(64),
}


def made(name: str, dataset: PackedDataset | None = None) -> FaceEncoder:
    """The encoder of a method for images of 64 pixels; of one that learns, untrained."""
    torch.manual_seed(0)
    material = Material(dataset)
    if name in NETWORKS:
        return material.encoder(NETWORKS[name]())
    return METHODS[name].make(material)


def test_all_methods_are_looked_at():
    looked_at = {*NETWORKS, *TRAINED, "pixels", "hog", "lbp", "random_weights"}
    assert looked_at == set(METHODS)


@pytest.mark.parametrize("name", [n for n in METHODS if n not in TRAINED])
def test_every_method_embeds_floats_and_bytes_alike(name, faces):
    if name in ("hog", "lbp"):
        pytest.importorskip("skimage")
    encoder = made(name, PackedDataset(faces))
    seen = images(size=encoder.image_size)
    rows, same = encoder.embed(seen).au, encoder.embed(seen.float() / 255).au
    one = encoder.embed(seen[1:2]).au
    assert rows.dtype == torch.float32 and rows.shape == (3, encoder.embedding_size)
    torch.testing.assert_close(rows, same, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(rows[1:2], one, atol=1e-5, rtol=1e-4)
    assert float(rows.std(0).max()) > 0
    assert encoder.embed(seen).pose.shape == (3, encoder.pose_size)


@pytest.mark.parametrize("name", ["pixels", "resnet"])
def test_fingerprints_tell_encoders_apart(name):
    assert made(name).fingerprint == made(name).fingerprint
    others = {made(other).fingerprint for other in ("pixels", "resnet", "fab_net", "drml")}
    assert len(others) == 4


def test_pixels_are_means_of_squares():
    got = Pixels(side=2).embed(images(1, 8)).view(3, 2, 2)
    expected = images(1, 8)[0].float().view(3, 2, 4, 2, 4).mean((2, 4)) / 255
    torch.testing.assert_close(got, expected)


def test_hog_tells_the_direction_of_stripes():
    pytest.importorskip("skimage")
    wave = (128 + 100 * torch.sin(torch.arange(64) * 0.8)).byte()
    upright = wave.expand(3, 64, 64)
    rows = made("hog").embed(torch.stack([upright, upright.mT])).au
    votes = rows.view(2, -1, 8).sum(1)
    assert rows.shape == (2, 4 * 7 * 7 * 8)
    assert votes[0].argmax() != votes[1].argmax()


def test_lbp_is_the_share_of_each_pattern():
    pytest.importorskip("skimage")
    plain = torch.full((1, 3, 64, 64), 90, dtype=torch.uint8)
    rows = made("lbp").embed(torch.cat([images(1), plain])).au
    shares = rows.view(2, 49, 59)
    torch.testing.assert_close(shares.sum(2), torch.ones(2, 49))
    inner = shares[1].view(7, 7, 59)[1:-1, 1:-1]
    assert torch.all(inner.max(2).values == 1)  # a plain picture has one pattern
    assert float(shares[0].max()) < 0.7


def test_random_weights_know_the_statistics_of_faces(faces):
    dataset = PackedDataset(faces)
    config = replace(PRESETS["default"], image_size=32)
    first, second = (untrained(Material(dataset, config)) for _ in range(2))
    some = np.unique(np.linspace(0, len(dataset.frames) - 1, 256).astype(int))
    seen = read_faces(dataset, some, config.pairs.centre_crop, 32)
    torch.testing.assert_close(first.embed(seen), second.embed(seen))
    assert first.fingerprint == second.fingerprint and not first.network.training
    convolution, norm = first.network.backbone[0][:2]
    parts = seen.split(64)
    means = torch.stack([convolution(part.float() / 255).mean((0, 2, 3)) for part in parts])
    torch.testing.assert_close(norm.running_mean, means.mean(0), atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="random_weights: it needs packed frames"):
        untrained(Material(None))


def test_tcae_comes_from_a_run_or_an_encoder_file(tmp_path):
    config = ModelConfig(base_filters=4, embedding_size=8)
    torch.manual_seed(0)
    path = tmp_path / "encoder.safetensors"
    save_encoder(path, Encoder(config, 64), DEFAULT_TEMPLATE.to_dict())
    expected = load_encoder(path).embed(images()).au
    for source in (path, tmp_path):
        encoder = twin_cycle_from(source).make(Material(None))
        torch.testing.assert_close(encoder.embed(images()).au, expected)
        encoder = face_encoder(source, Material(None))
        torch.testing.assert_close(encoder.embed(images()).au, expected)


def test_encoders_by_whatever_names_them(tmp_path):
    assert face_encoder("pixels", Material(None)).fingerprint == "Pixels(side=16)"
    assert face_encoder("synthetic-64", Material(None)).embedding_size == 128
    with pytest.raises(ValueError, match="--encoder fab_net: it is trained by"):
        face_encoder("fab_net", Material(None))
    with pytest.raises(FileNotFoundError, match=r"x\.onnx: no such network file"):
        face_encoder("x.onnx@32", Material(None))
    message = r"none: no such encoder file.* nor a method without training \(pixels, random"
    with pytest.raises(FileNotFoundError, match=message):
        face_encoder(tmp_path / "none", Material(None))


def test_a_table_of_features_is_read_by_name(pack_frames, tmp_path):
    dataset = PackedDataset(pack_frames({("p", "p/v", "0"): 4}))
    table = tmp_path / "mine.csv"
    names = [dataset.name(i) for i in range(4)]
    lines = [f"{name},{i},{-i}.5" for i, name in enumerate(names)][::-1]
    table.write_text("\n".join(["frame,a,b", *lines, "other/0/1,nan,7"]))
    got = read_features(table, dataset, np.array([1, 3]))
    assert got.tolist() == [[1, -1.5], [3, -3.5]] and got.dtype == np.float32


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["name,a"], "its header must be frame,<features>"),
        (["frame,a", "p/v/0/0,1"], "no finite features for 1 of 2 frames, as p/v/0/1"),
        (["frame,a", "p/v/0/0,1", "p/v/0/1,nan"], "no finite features for 1 of 2 frames"),
        (["frame,a", "p/v/0/0,x"], ":2: could not convert"),
        (["frame,a", "p/v/0/0,1,2"], ":2: could not broadcast"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(pack_frames, tmp_path, lines, message):
    dataset = PackedDataset(pack_frames({("p", "p/v", "0"): 2}))
    (tmp_path / "mine.csv").write_text("\n".join(lines))
    with pytest.raises(ValueError, match=message):
        read_features(tmp_path / "mine.csv", dataset, np.arange(2))


def test_a_table_of_features_as_programs_write_it(pack_frames, tmp_path):
    video = os.fsdecode(b"p/caf\xe9")
    dataset = PackedDataset(pack_frames({("p", video, "0"): 2}))
    table = tmp_path / "mine.csv"
    for text in (
        b"\xef\xbb\xbfframe;a\r\np/caf\xe9/0/0;1.5\r\np/caf\xe9/0/1;2\r\n",
        b",frame,a\n0,p/caf\xe9/0/0,1.5\n1, p/caf\xe9/0/1 ,2\n",
        b"frame\ta\np/caf\xe9/0/0\t1.5\np/caf\xe9/0/1\t2\n",
    ):
        table.write_bytes(text)
        assert read_features(table, dataset, np.arange(2)).tolist() == [[1.5], [2]]
