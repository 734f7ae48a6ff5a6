from __future__ import annotations

import collections

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from tcae.data.pairs import PairBatches, PairsConfig
from tcae.data.shards import PackedDataset, ShardError
from tcae.data.splits import split_of

SIZE = 64
CLIPS = {
    (f"id{person}", f"id{person}/v{video}", str(track)): 3 + person % 3
    for person in range(24)
    for video in range(2)
    for track in range(2)
}
OFFICIAL = PairsConfig(crop_min=200 / 256, crop_max=224 / 256, crop_size_per="epoch", flip=False)


def ramps(clip, frame):
    """Red tells x, green y (4 levels a pixel), blue the clip and the frame."""
    x, y = np.meshgrid(np.arange(SIZE), np.arange(SIZE))
    return np.stack([x * 4, y * 4, np.full_like(x, clip % 12 * 20 + frame * 2)], 2)


@pytest.fixture
def dataset(pack_frames):
    return PackedDataset(pack_frames(CLIPS, size=SIZE, shards=2, picture=ramps))


def batches(dataset, split="train", batch_size=8, seed=5, rank=0, world_size=1, config=None):
    return PairBatches(dataset, split, batch_size, seed, rank, world_size, SIZE, config)


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_shapes_and_types(dataset):
    batch = PairBatches(dataset, "train", 4, seed=0, image_size=32)[0]
    assert batch["source"].shape == batch["target"].shape == (4, 3, 32, 32)
    assert batch["source"].dtype == batch["target"].dtype == torch.uint8
    assert batch["source"].is_contiguous()
    assert batch["frames"].shape == (4, 2)
    assert batch["frames"].dtype == torch.int64
    assert batch["failures"] == 0


def test_a_batch_is_a_function_of_seed_and_step(dataset):
    one, other = batches(dataset), batches(dataset)
    later = [other[step] for step in (7, 0, 3)]
    assert same(one[3], later[2])
    assert same(one[7], later[0])
    assert not same(one[0], one[3])
    assert not same(one[0], batches(dataset, seed=6)[0])


def test_ranks_share_the_sequence_of_one_process(dataset):
    whole = batches(dataset, batch_size=12)[4]
    parts = [batches(dataset, batch_size=4, rank=r, world_size=3)[4] for r in range(3)]
    for key in ("source", "target", "frames"):
        assert torch.equal(whole[key], torch.cat([part[key] for part in parts]))


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_worker_processes_change_nothing(dataset, context):
    pairs = batches(dataset)
    loader = DataLoader(
        pairs, None, sampler=range(2, 6), num_workers=2, multiprocessing_context=context
    )
    for step, batch in enumerate(loader, start=2):
        assert same(batch, pairs[step])


def test_each_identity_once_in_an_epoch_in_another_order_each_time(dataset):
    pairs = batches(dataset, batch_size=1)
    n = len(pairs.identities)
    names = [dataset.identity(int(pairs[step]["frames"][0, 0])) for step in range(3 * n)]
    epochs = [names[i : i + n] for i in range(0, 3 * n, n)]
    assert all(sorted(epoch) == pairs.identities for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


@pytest.mark.parametrize("wanted", ["track", "video"])
def test_two_different_frames_of_one_group(dataset, wanted, monkeypatch):
    blank = np.zeros((SIZE, SIZE, 3), np.uint8)
    monkeypatch.setattr(dataset, "read", lambda i: blank)
    pairs = batches(dataset, batch_size=100, config=PairsConfig(same=wanted))
    frames = torch.cat([pairs[step]["frames"] for step in range(60)]).tolist()
    together = 0
    for a, b in frames:
        assert a != b
        one, two = (dataset.clips[dataset.frames["clip"][i]] for i in (a, b))
        assert one.video == two.video
        together += one.track == two.track
    assert together == len(frames) if wanted == "track" else 0 < together < len(frames)
    # Every frame of the split turns up, in both roles.
    inside = {i for i in range(len(dataset)) if split_of(dataset.identity(i), 0) == "train"}
    assert {a for a, _ in frames} == {b for _, b in frames} == inside


def test_identity_splits(dataset):
    seen = {}
    for split in ("train", "val", "test"):
        pairs = batches(dataset, split)
        assert {split_of(name, 0) for name in pairs.identities} == {split}
        seen[split] = set(pairs.identities)
    assert set.union(*seen.values()) == {clip[0] for clip in CLIPS}


def test_time_splits(pack_frames):
    dataset = PackedDataset(pack_frames({("ann", "v", "0"): 40, ("bob", "w", "0"): 20}))
    config = PairsConfig(split="time")
    seen = collections.defaultdict(set)
    for split in ("train", "val", "test"):
        pairs = batches(dataset, split, batch_size=200, config=config)
        for i in pairs[0]["frames"].flatten().tolist():
            seen[split].add(dataset.name(i))
    expected = {
        "train": {f"v/0/{i}" for i in range(30)} | {f"w/0/{i}" for i in range(15)},
        "val": {f"v/0/{i}" for i in range(30, 36)} | {f"w/0/{i}" for i in range(15, 18)},
        "test": {f"v/0/{i}" for i in range(36, 40)} | {f"w/0/{i}" for i in range(18, 20)},
    }
    assert seen == expected


def test_frames_without_a_partner_are_never_drawn(pack_frames):
    clips = {("ann", "v", "0"): 1, ("ann", "v", "1"): 3, ("bob", "w", "0"): 1}
    dataset = PackedDataset(pack_frames(clips))
    config = PairsConfig(split="time")
    # Three frames: the first 75 % round up to all three.
    assert batches(dataset, config=config).identities == ["ann"]
    video = PairsConfig(split="time", same="video")
    frames = batches(dataset, batch_size=60, config=video)[0]["frames"]
    assert set(frames.flatten().tolist()) == {0, 1, 2, 3}


def geometry(picture):
    """Left and top edge and side of the crop that a picture of `ramps` shows, and its mirroring."""
    red, green = picture[0].float(), picture[1].float()
    slope = float(red[:, -1].mean() - red[:, 0].mean()) / (SIZE - 1) * SIZE / 4
    left = float(torch.minimum(red[:, 0].mean(), red[:, -1].mean())) / 4
    return left, float(green[0].mean()) / 4, abs(slope), slope < 0


@pytest.mark.parametrize("config", [PairsConfig(), OFFICIAL, PairsConfig(crop_max=1.0)])
def test_training_crops(dataset, config):
    pairs = batches(dataset, batch_size=60, config=config)
    batch = pairs[0]
    sides, sources, targets, flips = [], [], [], []
    for source, target in zip(batch["source"], batch["target"], strict=True):
        left, top, side, flipped = geometry(source)
        other_left, other_top, other_side, other_flipped = geometry(target)
        assert side == pytest.approx(other_side, abs=1)
        assert flipped == other_flipped
        assert config.crop_min * SIZE - 1.5 < side < config.crop_max * SIZE + 1.5
        assert min(left, top) > -0.6
        assert max(left, top) + side < SIZE + 1.5
        sides.append(side)
        sources.append((left, top))
        targets.append((other_left, other_top))
        flips.append(flipped)
    # Source and target positions are independent, as are x and y.
    places = np.concatenate([sources, targets], 1)
    assert np.abs(np.corrcoef(places.T) - np.eye(4)).max() < 0.5
    assert 15 < sum(flips) < 45 if config.flip else sum(flips) == 0
    if config is OFFICIAL:
        n = len(pairs.identities)  # one crop size for each epoch
        assert np.ptp(sides[:n]) < 0.9
        assert np.ptp(sides[::n]) > 1
    else:
        assert np.ptp(sides) > 4


def test_validation_crops_are_centred_and_fixed(dataset):
    batch = batches(dataset, "val", batch_size=6)[0]
    for picture in [*batch["source"], *batch["target"]]:
        left, top, side, flipped = geometry(picture)
        assert side == pytest.approx(0.9 * SIZE, abs=1)
        assert left == pytest.approx(0.05 * SIZE, abs=0.8)
        assert top == pytest.approx(0.05 * SIZE, abs=0.8)
        assert not flipped


def test_validation_crops_can_be_random_and_are_fixed_all_the_same(dataset):
    config = PairsConfig(crop_min=0.6, crop_max=0.8, jitter_validation=True)
    batch, again = (batches(dataset, "val", batch_size=12, config=config)[3] for _ in range(2))
    assert same(batch, again)
    found = [geometry(picture) for picture in [*batch["source"], *batch["target"]]]
    lefts, tops, sides, flipped = (np.array(values) for values in zip(*found, strict=True))
    assert 0.6 * SIZE - 1 <= sides.min() < 0.66 * SIZE
    assert 0.74 * SIZE < sides.max() <= 0.8 * SIZE + 1
    assert np.ptp(lefts) > 0.15 * SIZE and np.ptp(tops) > 0.15 * SIZE
    assert not flipped.any()


def test_unreadable_frames_are_redrawn(dataset, caplog):
    good = batches(dataset, batch_size=40)[0]
    blob = dataset.path / "shards" / "0000.bin"
    content = bytearray(blob.read_bytes())
    broken = int(good["frames"][3, 1])
    entry = dataset.frames[broken]
    path = dataset.path / "shards" / f"{entry['shard']:04d}.bin"
    content = bytearray(path.read_bytes())
    content[int(entry["offset"]) + 5] ^= 255
    path.write_bytes(content)
    damaged = PackedDataset(dataset.path)
    one, other = batches(damaged, batch_size=40), batches(damaged, batch_size=40)
    first = one[0]
    assert same(first, other[0])
    touched = (good["frames"] == broken).any(1)
    assert not (first["frames"] == broken).any()
    assert first["failures"] == one.failures >= int(touched.sum()) >= 1
    assert torch.equal(first["frames"][~touched], good["frames"][~touched])
    assert torch.equal(first["source"][~touched], good["source"][~touched])
    for a, b in zip(good["frames"][touched], first["frames"][touched], strict=True):
        assert dataset.identity(int(a[0])) == dataset.identity(int(b[0]))
    lines = [r.getMessage() for r in caplog.records]
    assert len(lines) == 2  # one for each object
    assert str(path) in lines[0]


def test_a_data_set_that_vanishes_is_an_error(dataset):
    pairs = batches(dataset)
    for path in (dataset.path / "shards").iterdir():
        path.write_bytes(b"")
    with pytest.raises(ShardError, match="no readable pair in 100 draws"):
        pairs[0]


def test_empty_splits_say_what_helps(pack_frames):
    dataset = PackedDataset(pack_frames({("ann", "v", "0"): 2}))
    for split in {"train", "val", "test"} - {split_of("ann", 0)}:
        with pytest.raises(ValueError, match=r"--pairs.split time"):
            batches(dataset, split)
    with pytest.raises(ValueError, match=r"--pairs.same video"):
        batches(dataset, "val", config=PairsConfig(split="time"))


def test_wrong_arguments(dataset):
    with pytest.raises(ValueError, match="split must be one of"):
        batches(dataset, "dev")
    with pytest.raises(ValueError, match="impossible batch_size 8, rank 2 of 2"):
        batches(dataset, rank=2, world_size=2)
    with pytest.raises(ValueError, match="crop_min"):
        PairsConfig(crop_min=0.9, crop_max=0.8)
