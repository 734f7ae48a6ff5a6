from __future__ import annotations

import numpy as np
import pytest

from tcae.data.pictures import centre
from tcae.data.shards import PackedDataset
from tcae.evaluation import embedding_cache
from tcae.evaluation.embedding_cache import cached_embeddings

CLIPS = {("a", "va", "0"): 4, ("b", "vb", "0"): 3}


def noise(clip: int, frame: int) -> np.ndarray:
    return np.random.default_rng([clip, frame]).integers(0, 256, (32, 32, 3))


@pytest.fixture
def extract(monkeypatch, tmp_path, encoder):
    """AU embeddings in parts of seven frames, and the numbers of frames that were embedded."""
    monkeypatch.setattr(embedding_cache, "_PART", 7)
    encoder.crop, encoder.image_size = 0.5, 8

    def run(dataset: PackedDataset, frames: np.ndarray) -> np.ndarray:
        encoder.batches.clear()
        return cached_embeddings(tmp_path / "f", encoder, dataset, frames, batch_size=4).au

    return run, encoder.batches, tmp_path / "f"


def stopped_after(monkeypatch: pytest.MonkeyPatch, parts: int) -> None:
    """The process is killed when it begins with the next part."""
    embed, done = embedding_cache.embed_frames, []

    def some(*args, **options):
        if len(done) == parts:
            raise KeyboardInterrupt
        done.append(1)
        return embed(*args, **options)

    monkeypatch.setattr(embedding_cache, "embed_frames", some)


def test_every_frame_once_in_its_order(extract, pack_frames):
    run, seen, folder = extract
    dataset = PackedDataset(pack_frames({("p", "v", "0"): 20}, picture=noise))
    frames = np.array([19, 3, *range(4, 18)])
    got = run(dataset, frames)
    expected = [centre(dataset.read(int(i)), 0.5, 8).mean((0, 1)) / 255 for i in frames]
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    assert sum(seen) == 16 and not (folder / "embeddings.part").exists()
    again = run(dataset, frames)
    assert seen == []  # all is there: nothing is embedded
    np.testing.assert_array_equal(again, got)


def test_only_missing_parts_are_extracted(extract, pack_frames, monkeypatch):
    run, seen, _ = extract
    dataset = PackedDataset(pack_frames({("p", "v", "0"): 20}, picture=noise))
    with monkeypatch.context() as patch:
        stopped_after(patch, parts=2)
        with pytest.raises(KeyboardInterrupt):
            run(dataset, np.arange(20))
    got = run(dataset, np.arange(20))
    assert sum(seen) == 6
    whole = [dataset.read(i) for i in range(20)]
    expected = [centre(picture, 0.5, 8).mean((0, 1)) / 255 for picture in whole]
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_unreadable_frames_are_nan_even_a_part_full_of_them(extract, pack_frames, tmp_path):
    run, _, _ = extract
    dataset = PackedDataset(pack_frames({("p", "v", "0"): 20}, picture=noise))
    whole = run(dataset, np.arange(20)).copy()
    dataset.frames["crc32"][7:15] ^= 1
    got = run(dataset, np.arange(20))  # other pictures: what is kept does not belong to them
    assert np.isnan(got[7:15]).all()
    np.testing.assert_array_equal(
        np.delete(got, range(7, 15), 0), np.delete(whole, range(7, 15), 0)
    )


def test_cache_is_used_for_the_same_encoder_and_pictures_only(tmp_path, pack_frames, encoder):
    dataset = PackedDataset(pack_frames(CLIPS, picture=noise))
    frames = np.arange(7)
    first = cached_embeddings(tmp_path, encoder, dataset, frames)
    again = cached_embeddings(tmp_path, encoder, dataset, frames)
    assert encoder.batches == [7]
    np.testing.assert_array_equal(first.au, again.au)
    np.testing.assert_array_equal(np.load(tmp_path / "embeddings_pose.npy"), again.pose)
    assert (again.encoder, again.failures) == (first.encoder, first.failures)
    cached_embeddings(tmp_path, encoder, dataset, frames[::-1].copy())
    assert encoder.batches == [7, 7]
    encoder.fingerprint = "retrained"
    cached_embeddings(tmp_path, encoder, dataset, frames[::-1].copy())
    encoder.crop = 0.9
    cached_embeddings(tmp_path, encoder, dataset, frames[::-1].copy())
    assert encoder.batches == [7, 7, 7, 7]


def test_an_interrupted_cache_is_not_trusted(tmp_path, pack_frames, encoder, monkeypatch):
    dataset = PackedDataset(pack_frames(CLIPS, picture=noise))
    cached_embeddings(tmp_path, encoder, dataset, np.arange(7))
    encoder.fingerprint = "retrained"

    def stop(path, values):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", stop)
        with pytest.raises(KeyboardInterrupt):
            cached_embeddings(tmp_path, encoder, dataset, np.arange(7))
    encoder.fingerprint = "colour"  # whose arrays may be half overwritten by now
    cached_embeddings(tmp_path, encoder, dataset, np.arange(7))
    assert encoder.batches == [7, 7, 7]
