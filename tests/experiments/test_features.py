from __future__ import annotations

import numpy as np
import pytest
import torch

from tcae.data.pictures import centre
from tcae.data.shards import PackedDataset
from tcae.experiments import features
from tcae.experiments.features import cached_features


def colours(images: torch.Tensor) -> torch.Tensor:
    return images.float().mean((2, 3))


@pytest.fixture
def extract(monkeypatch, tmp_path):
    monkeypatch.setattr(features, "_PART", 7)
    seen: list[int] = []

    def embed(images: torch.Tensor) -> torch.Tensor:
        seen.append(len(images))
        return colours(images)

    def run(dataset: PackedDataset, frames: np.ndarray, make=lambda: embed) -> np.ndarray:
        seen.clear()
        options = {"crop": 0.5, "image_size": 8, "batch_size": 4}
        return cached_features(tmp_path / "f", make, dataset, frames, **options)

    return run, seen, tmp_path / "f"


def noise(clip: int, frame: int) -> np.ndarray:
    return np.random.default_rng([clip, frame]).integers(0, 256, (32, 32, 3))


def test_every_frame_once_in_its_order(extract, pack_frames):
    run, _, folder = extract
    dataset = PackedDataset(pack_frames({("p", "v", "0"): 20}, picture=noise))
    frames = np.array([19, 3, *range(4, 18)])
    got = run(dataset, frames)
    expected = [centre(dataset.read(int(i)), 0.5, 8).mean((0, 1)) for i in frames]
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    assert len(list(folder.iterdir())) == 3
    again = run(dataset, frames, make=lambda: 1 / 0)  # all is there: nothing is made
    np.testing.assert_array_equal(again, got)


def test_only_missing_parts_are_extracted(extract, pack_frames):
    run, seen, folder = extract
    dataset = PackedDataset(pack_frames({("p", "v", "0"): 20}, picture=noise))
    got = run(dataset, np.arange(20))
    (folder / "00001.npy").unlink()
    np.testing.assert_array_equal(run(dataset, np.arange(20)), got)
    assert sum(seen) - 1 == 7  # and the empty picture that tells the length


def test_unreadable_frames_are_nan_even_a_part_full_of_them(extract, pack_frames, monkeypatch):
    run, _, folder = extract
    dataset = PackedDataset(pack_frames({("p", "v", "0"): 20}, picture=noise))
    whole = run(dataset, np.arange(20)).copy()
    dataset.frames["crc32"][7:15] ^= 1
    for file in folder.iterdir():
        file.unlink()
    got = run(dataset, np.arange(20))
    assert np.isnan(got[7:15]).all()
    np.testing.assert_array_equal(
        np.delete(got, range(7, 15), 0), np.delete(whole, range(7, 15), 0)
    )
