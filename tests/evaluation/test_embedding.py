from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from tcae.data.align import DEFAULT_TEMPLATE, AlignmentTemplate
from tcae.data.pairs import PairBatches, PairsConfig
from tcae.data.shards import PackedDataset
from tcae.evaluation.embedding import (
    check_template,
    embed_frames,
    embed_here,
    embedding_by,
)

CLIPS = {("a", "va", "0"): 4, ("b", "vb", "0"): 3}


def noise(clip: int, frame: int) -> np.ndarray:
    return np.random.default_rng([clip, frame]).integers(0, 256, (32, 32, 3))


@pytest.mark.parametrize(("batch_size", "workers"), [(64, 0), (2, 0), (2, 1)])
def test_rows_belong_to_their_frames(pack_frames, encoder, batch_size, workers):
    dataset = PackedDataset(pack_frames(CLIPS, picture=noise))
    frames = np.array([5, 0, 6, 2])
    got = embed_frames(encoder, dataset, frames, batch_size=batch_size, workers=workers)
    pictures = np.stack([dataset.read(i) for i in frames]) / 255
    np.testing.assert_allclose(got.au, pictures.mean((1, 2)), atol=1e-6)
    np.testing.assert_allclose(got.of("pose"), pictures[:, 0, 0], atol=1e-6)
    assert got.encoder == "colour" and got.failures == ()
    assert max(encoder.batches) <= batch_size


def test_embeddings_may_differ_in_length(pack_frames, encoder, monkeypatch):
    dataset = PackedDataset(pack_frames(CLIPS, picture=noise))
    whole, embed = embed_frames(encoder, dataset, np.arange(7)), encoder.embed
    monkeypatch.setattr(encoder, "pose_size", 2)
    monkeypatch.setattr(encoder, "embed", lambda x: embed(x)._replace(pose=embed(x).pose[:, :2]))
    got = embed_frames(encoder, dataset, np.arange(7), batch_size=3)
    np.testing.assert_array_equal(got.au, whole.au)
    np.testing.assert_array_equal(got.pose, whole.pose[:, :2])


def damage(dataset: PackedDataset, frame: int) -> None:
    """Flips a bit in the middle of one packed picture."""
    (blob,) = sorted((dataset.path / "shards").glob("*.bin"))
    content = bytearray(blob.read_bytes())
    entry = dataset.frames[frame]
    content[int(entry["offset"]) + int(entry["length"]) // 2] ^= 1
    blob.write_bytes(content)


def test_unreadable_frames_are_nan_and_named(pack_frames, encoder):
    dataset = PackedDataset(pack_frames(CLIPS, picture=noise))
    whole = embed_frames(encoder, dataset, np.arange(7))
    damage(dataset, 3)
    got = embed_frames(encoder, dataset, np.arange(7), batch_size=2)
    assert np.isnan(got.au[3]).all() and np.isnan(got.pose[3]).all()
    others = np.arange(7) != 3
    np.testing.assert_array_equal(got.au[others], whole.au[others])
    assert len(got.failures) == 1 and "va/0/3" in got.failures[0]


def test_a_batch_without_a_readable_frame(pack_frames, encoder):
    dataset = PackedDataset(pack_frames(CLIPS, picture=noise))
    damage(dataset, 3)
    got = embed_frames(encoder, dataset, np.array([3]))
    assert np.isnan(got.au).all() and encoder.batches == []


def test_other_sizes_are_resized_by_area(pack_frames, encoder):
    dataset = PackedDataset(pack_frames(CLIPS, picture=noise))
    small = replace(encoder, image_size=16)
    got = embed_frames(small, dataset, np.array([1]))
    expected = cv2.resize(dataset.read(1), (16, 16), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(got.pose[0], expected[0, 0] / 255, atol=1e-6)


def test_sees_what_validation_sees(pack_frames, encoder):
    """The same part of a picture as the centre crop of the pairs that it was validated on."""
    dataset = PackedDataset(pack_frames({(f"p{i}", "v", "0"): 2 for i in range(30)}, picture=noise))
    config = PairsConfig(crop_min=0.7, crop_max=0.85)
    batch = PairBatches(dataset, "val", 4, 0, image_size=16, config=config)[0]
    whole = replace(encoder, image_size=16, crop=config.centre_crop)
    got = embed_frames(whole, dataset, batch["frames"][:, 0].numpy())
    expected = encoder.__class__(16).embed(batch["source"])
    np.testing.assert_allclose(got.au, expected.au, atol=1e-6)
    np.testing.assert_allclose(got.pose, expected.pose, atol=1e-6)


def test_other_templates_are_refused_and_both_named(pack_frames, encoder):
    dataset = PackedDataset(pack_frames(CLIPS))
    points = tuple((x + 0.1, y) for x, y in DEFAULT_TEMPLATE.points)
    encoder.template = AlignmentTemplate(points, "shifted").to_dict()
    with pytest.raises(ValueError, match=f"template {DEFAULT_TEMPLATE.name}.* needs shifted"):
        embed_frames(encoder, dataset, np.arange(2))
    encoder.template["name"] = DEFAULT_TEMPLATE.name
    with pytest.raises(ValueError, match=str(points[0][0])):
        check_template(encoder, dataset.template, "faces")


def test_somebody_else_may_do_the_work(pack_frames, encoder):
    dataset = PackedDataset(pack_frames(CLIPS, picture=noise))
    asked = []

    def embed(encoder, dataset, frames, **options):
        asked.append((frames.tolist(), options))
        return embed_here(encoder, dataset, frames, **options)

    with embedding_by(embed):
        got = embed_frames(encoder, dataset, np.arange(3), batch_size=2)
    assert asked == [([0, 1, 2], {"batch_size": 2, "workers": 0})]
    np.testing.assert_array_equal(got.au, embed_frames(encoder, dataset, np.arange(3)).au)
    assert len(asked) == 1


def test_an_embedding_that_is_not_there_cannot_be_asked_for(pack_frames, encoder, monkeypatch):
    dataset = PackedDataset(pack_frames(CLIPS, picture=noise))
    embed = encoder.embed
    monkeypatch.setattr(encoder, "pose_size", 0)
    monkeypatch.setattr(encoder, "embed", lambda x: embed(x)._replace(pose=embed(x).pose[:, :0]))
    got = embed_frames(encoder, dataset, np.arange(7))
    assert got.array("pose").shape == (7, 0) and got.of("au").shape == (7, 3)
    with pytest.raises(ValueError, match="the encoder has no pose embedding"):
        got.of("pose")
    with pytest.raises(ValueError, match="'both' came, au or pose is needed"):
        got.of("both")
