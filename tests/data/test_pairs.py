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
OFFICIAL = PairsConfig(
    crop_min=200 / 256,
    crop_max=224 / 256,
    crop_shift=1,
    together=1,
    crop_size_per="epoch",
    flip=False,
)


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
    assert batch["source"].is_contiguous(memory_format=torch.channels_last)
    assert batch["frames"].shape == (4, 2)
    assert batch["frames"].dtype == torch.int64
    assert batch["tracks"].shape == (4,)
    assert batch["tracks"].dtype == torch.int64
    assert batch["failures"] == 0


def test_a_batch_is_a_function_of_seed_and_step(dataset):
    one, other = batches(dataset), batches(dataset)
    later = [other[step] for step in (7, 0, 3)]
    assert same(one[3], later[2])
    assert same(one[7], later[0])
    assert not same(one[0], one[3])
    assert not same(one[0], batches(dataset, seed=6)[0])


@pytest.mark.parametrize("ranks", [3, 4])  # in the second case rows are split over ranks
def test_ranks_share_the_sequence_of_one_process(dataset, ranks):
    whole = batches(dataset, batch_size=12)[4]
    parts = [batches(dataset, "train", 12 // ranks, 5, r, ranks)[4] for r in reversed(range(ranks))]
    for key in ("source", "target", "frames", "tracks"):
        assert torch.equal(whole[key], torch.cat([part[key] for part in reversed(parts)]))


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_worker_processes_change_nothing(dataset, context):
    pairs = batches(dataset)
    loader = DataLoader(
        pairs, None, sampler=range(2, 6), num_workers=2, multiprocessing_context=context
    )
    for step, batch in enumerate(loader, start=2):
        assert same(batch, pairs[step])


@pytest.mark.parametrize(("split", "row"), [("train", 4), ("train", 1), ("val", 1), ("test", 1)])
def test_each_identity_once_in_an_epoch_in_another_order_each_time(pack_frames, split, row):
    clips = {(f"p{i}", f"v{i}", "0"): 2 for i in range(60)}
    dataset = PackedDataset(pack_frames(clips, size=16))
    config = PairsConfig(together=row if split == "train" else 4)
    pairs = batches(dataset, split, batch_size=row, config=config)
    n = len(pairs.identities)
    assert n >= 3
    names = []
    for step in range(3 * n):
        (name,) = {dataset.identity(i) for i in pairs[step]["frames"].flatten().tolist()}
        names.append(name)
    epochs = [names[i : i + n] for i in range(0, 3 * n, n)]
    assert all(sorted(epoch) == pairs.identities for epoch in epochs)
    assert len({*map(tuple, epochs)}) > 1


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


@pytest.mark.parametrize("same", ["track", "video"])
def test_rows_come_from_one_track_and_repeat_no_frame_before_they_must(pack_frames, same):
    lengths = (2, 3, 4, 5, 6, 7, 8, 20)
    clips = {
        (f"p{i}", f"v{i}", str(track)): frames
        for i, frames in enumerate(lengths)
        for track in range(2)
    }
    dataset = PackedDataset(pack_frames(clips, size=16))
    config = PairsConfig(split="time", same=same)
    pairs = batches(dataset, batch_size=4, config=config)
    group_of = collections.Counter()
    for i in range(len(dataset)):
        group_of[clip_of(dataset, i, same)] += dataset.name(i) in inside_in_time(dataset)
    seen = set()
    for step in range(40 * len(lengths)):
        batch = pairs[step]
        frames = batch["frames"].tolist()
        (group,) = {clip_of(dataset, i, same) for pair in frames for i in pair}
        assert len(set(batch["tracks"].tolist())) == 1
        assert all(a != b for a, b in frames)
        distinct = {i for pair in frames for i in pair}
        assert len(distinct) == min(8, group_of[group])
        whole = group_of[group] // 2  # pairs before the first frame comes again
        assert len({i for pair in frames[:whole] for i in pair}) == 2 * min(whole, 4)
        seen.add(group)
    assert seen == {group for group, frames in group_of.items() if frames > 1}


def clip_of(dataset, frame, same):
    clip = dataset.clips[dataset.frames["clip"][frame]]
    return (clip.video, clip.track) if same == "track" else clip.video


def inside_in_time(dataset):
    """Names of the frames in the first 75 % of their tracks."""
    clips = collections.defaultdict(list)
    for i in range(len(dataset)):
        clips[int(dataset.frames["clip"][i])].append(dataset.name(i))
    return {
        name for names in clips.values() for i, name in enumerate(names) if i < 0.75 * len(names)
    }


@pytest.mark.parametrize("same", ["track", "video"])
def test_tracks_are_equal_where_pairs_share_one(dataset, same):
    batch = batches(dataset, batch_size=100, config=PairsConfig(same=same))[0]
    groups = [clip_of(dataset, int(a), same) for a in batch["frames"][:, 0]]
    for i, one in enumerate(groups):
        for j, other in enumerate(groups):
            assert (batch["tracks"][i] == batch["tracks"][j]) == (one == other)
    assert 1 < len(set(groups)) < 100


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


@pytest.mark.parametrize(
    "config",
    [PairsConfig(), OFFICIAL, PairsConfig(crop_max=1.0, crop_shift=1, together=1)],
    ids=["default", "official", "anywhere"],
)
def test_training_crops(dataset, config):
    pairs = batches(dataset, batch_size=60 * config.together, config=config)
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
        middle = (SIZE - side) / 2
        offsets = (left - middle, top - middle), (other_left - middle, other_top - middle)
        assert (
            np.abs(offsets).max() < config.crop_shift * SIZE + 1.8
        )  # a pixel, and what is measured
        sides.append(side)
        sources.append(offsets[0])
        targets.append(offsets[1])
        flips.append(flipped)
    # Source and target positions are independent, as are x and y.
    places = np.concatenate([sources, targets], 1)
    assert np.abs(np.corrcoef(places.T) - np.eye(4)).max() < 0.5
    mirrored = sum(flips) / config.together
    assert 15 < mirrored < 45 if config.flip else mirrored == 0
    for row in range(0, len(sides), config.together):
        assert np.ptp(sides[row : row + config.together]) < 0.9
        assert len(set(flips[row : row + config.together])) == 1
    if config is OFFICIAL:
        n = len(pairs.identities)  # one crop size for each epoch
        assert np.ptp(sides[:n]) < 0.9
        assert np.ptp(sides[::n]) > 1
    else:
        assert np.ptp(sides) > 4


@pytest.mark.parametrize("shift", [0.0, 0.03, 0.1, 1.0])
@pytest.mark.parametrize("side", [40, 47])
def test_crops_take_every_place_within_the_shift_and_no_other(dataset, shift, side, monkeypatch):
    y, x = np.mgrid[:SIZE, :SIZE]
    places = np.stack([y, x, x * 0], 2).astype(np.uint8)
    crops = []

    def record(picture, size):
        crops.append((*picture[0, 0, :2].tolist(), *picture.shape[:2]))
        return np.zeros((size, size, 3), np.uint8)

    monkeypatch.setattr(dataset, "read", lambda i: places)
    monkeypatch.setattr("tcae.data.pairs.resize", record)
    config = PairsConfig(crop_min=side / SIZE, crop_max=side / SIZE, crop_shift=shift)
    batches(dataset, batch_size=1000, config=config)[0]
    # The last pixel may be begun: whole places that are less than one beyond the shift.
    middle, inside = (SIZE - side) / 2, range(SIZE - side + 1)
    allowed = {place for place in inside if abs(place - middle) < shift * SIZE + 1}
    assert {crop[2:] for crop in crops} == {(side, side)}
    assert {crop[0] for crop in crops} == {crop[1] for crop in crops} == allowed
    # Each pair and picture of a row draws its own.
    rows = [crops[i : i + 8] for i in range(0, len(crops), 8)]
    assert (len(allowed) == 1) == all(len(set(row)) == 1 for row in rows)
    most = collections.Counter(crop[0] for crop in crops).most_common()
    assert most[0][1] < 2 * most[-1][1]


def test_rows_share_side_and_mirroring_and_differ_in_them_from_others(dataset):
    config = PairsConfig(crop_min=0.5, crop_max=0.9, together=3)
    batch = batches(dataset, batch_size=60, config=config)[0]
    found = [geometry(picture) for picture in [*batch["source"], *batch["target"]]]
    sides = np.array([side for _, _, side, _ in found]).reshape(2, 20, 3)
    flips = np.array([flipped for *_, flipped in found]).reshape(2, 20, 3)
    assert np.ptp(sides, (0, 2)).max() < 0.9 and np.ptp(sides) > 0.3 * SIZE
    assert (flips.any((0, 2)) == flips.all((0, 2))).all() and 0 < flips.mean() < 1


def test_validation_crops_are_centred_and_fixed(dataset):
    batch = batches(dataset, "val", batch_size=6)[0]
    for picture in [*batch["source"], *batch["target"]]:
        left, top, side, flipped = geometry(picture)
        assert side == pytest.approx(0.9 * SIZE, abs=1)
        assert left == pytest.approx(0.05 * SIZE, abs=0.8)
        assert top == pytest.approx(0.05 * SIZE, abs=0.8)
        assert not flipped


def test_validation_crops_can_be_random_and_are_fixed_all_the_same(dataset):
    config = PairsConfig(crop_min=0.6, crop_max=0.8, crop_shift=1, jitter_validation=True)
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
    with pytest.raises(ValueError, match=r"crop_shift is 1.5, .* \[0, 1\]"):
        PairsConfig(crop_shift=1.5)
    with pytest.raises(ValueError, match=r"together is 0, .* at least 1"):
        PairsConfig(together=0)
