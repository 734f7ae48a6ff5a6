from __future__ import annotations

import numpy as np
import pytest
import torch

from tcae.data.align import DEFAULT_TEMPLATE
from tcae.data.shards import PackedDataset
from tcae.methods.feature_table import read_features
from tcae.methods.pixels import Pixels
from tcae.methods.random_weights import RandomWeights
from tcae.methods.registry import METHODS
from tcae.methods.twin_cycle import TwinCycleEmbedding
from tcae.models.encoder import Encoder
from tcae.models.encoder_file import load_encoder, save_encoder
from tcae.models.model_config import ModelConfig


def images(count: int = 3, size: int = 64) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=random)


@pytest.mark.parametrize("name", [n for n in METHODS if n != "tcae"])
def test_every_method_embeds_floats_and_bytes_alike(name):
    if name in ("hog", "lbp"):
        pytest.importorskip("skimage")
    torch.manual_seed(0)
    method = METHODS[name].build(64, 2)
    if isinstance(method, torch.nn.Module):
        method.eval()
    with torch.no_grad():
        rows, same = method.embed(images()), method.embed(images().float() / 255)
        one = method.embed(images()[1:2])
    assert rows.dtype == torch.float32 and rows.ndim == 2 and len(rows) == 3
    torch.testing.assert_close(rows, same, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(rows[1:2], one, atol=1e-5, rtol=1e-4)
    assert float(rows.std(0).max()) > 0


def test_pixels_are_means_of_squares():
    got = Pixels(side=2).embed(images(1, 8)).view(3, 2, 2)
    expected = images(1, 8)[0].float().view(3, 2, 4, 2, 4).mean((2, 4)) / 255
    torch.testing.assert_close(got, expected)


def test_hog_tells_the_direction_of_stripes():
    pytest.importorskip("skimage")
    wave = (128 + 100 * torch.sin(torch.arange(64) * 0.8)).byte()
    upright = wave.expand(3, 64, 64)
    rows = METHODS["hog"].build(64, 0).embed(torch.stack([upright, upright.mT]))
    votes = rows.view(2, -1, 8).sum(1)
    assert rows.shape == (2, 4 * 7 * 7 * 8)
    assert votes[0].argmax() != votes[1].argmax()


def test_lbp_is_the_share_of_each_pattern():
    pytest.importorskip("skimage")
    lbp = METHODS["lbp"].build(64, 0)
    rows = lbp.embed(torch.cat([images(1), torch.full((1, 3, 64, 64), 90, dtype=torch.uint8)]))
    shares = rows.view(2, 49, 59)
    torch.testing.assert_close(shares.sum(2), torch.ones(2, 49))
    inner = shares[1].view(7, 7, 59)[1:-1, 1:-1]
    assert torch.all(inner.max(2).values == 1)  # a plain picture has one pattern
    assert float(shares[0].max()) < 0.7


def test_random_weights_know_the_statistics_of_faces(cartoons):
    seen = cartoons.pairs(64, 0)[0]
    first, second = RandomWeights(32), RandomWeights(32)
    for network in (first, second):
        network.settle(seen)
        assert not network.training
    torch.testing.assert_close(first.embed(seen), second.embed(seen))
    norm = first.encoder.backbone[0][1]
    assert float((norm.running_mean - 0).abs().max()) > 0
    pictures = seen.float() / 255
    maps = first.encoder.backbone[0][0](pictures)
    torch.testing.assert_close(norm.running_mean, maps.mean((0, 2, 3)), atol=1e-5, rtol=1e-4)


def test_tcae_comes_from_a_run_or_an_encoder_file(tmp_path):
    config = ModelConfig(base_filters=4, embedding_size=8)
    torch.manual_seed(0)
    path = tmp_path / "encoder.safetensors"
    save_encoder(path, Encoder(config, 64), DEFAULT_TEMPLATE.to_dict())
    expected = load_encoder(path).embed(images()).au
    for source in (path, tmp_path):
        torch.testing.assert_close(TwinCycleEmbedding.load(source).embed(images()), expected)


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
