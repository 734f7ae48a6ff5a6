from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tcae.data.align import AlignmentTemplate
from tcae.data.fingerprint import fingerprint
from tcae.data.mixture import MixedPairs, Mixture, read_mixture
from tcae.data.pairs import PairBatches, PairsConfig
from tcae.data.shard_files import PackInfo
from tcae.data.shards import PackedDataset

EASY = PairsConfig(split="time", crop_min=1.0, crop_max=1.0, crop_shift=0.0, flip=False)


@pytest.fixture
def sets(pack_frames) -> list[PackedDataset]:
    """Three sets of 3, 5 and 2 people, one track of 12 frames each."""
    return [
        PackedDataset(
            pack_frames({(f"{name}{i}", "v", "0"): 12 for i in range(count)}, name=name, size=32)
        )
        for name, count in (("a", 3), ("b", 5), ("c", 2))
    ]


def batches(sets, shares, size: int = 8, config: PairsConfig = EASY, **options) -> MixedPairs:
    parts = [PairBatches(s, "train", size, seed=3, config=config, **options) for s in sets]
    return MixedPairs(parts, shares)


def names(mixture: Mixture, batch) -> list[tuple[str, str]]:
    return [tuple(mixture.name(i) for i in pair) for pair in batch["frames"].tolist()]


def people(mixture: Mixture, pairs: MixedPairs, steps: int) -> list[str]:
    return [a.split("/")[0] for step in range(steps) for a, _ in names(mixture, pairs[step])]


def identities(mixture: Mixture, batch) -> list[list[str]]:
    """Whose frames the pairs are of, found by walking through the sets."""
    of_frame = [f"{d.path.name}:{d.identity(i)}" for d in mixture.datasets for i in range(len(d))]
    return [[of_frame[i] for i in pair] for pair in batch["frames"].tolist()]


@pytest.mark.parametrize("together", [1, 4])
def test_shares_hold_after_every_batch(sets, together):
    shares = (0.5, 0.3, 0.2)
    mixture = Mixture(sets[0], [(sets[1], 0.3), (sets[2], 0.2)])
    np.testing.assert_allclose(mixture.shares, shares)
    pairs = batches(sets, mixture.shares, config=replace(EASY, together=together))
    drawn: list[str] = []
    for step in range(25):
        drawn += [who[0][0] for who in identities(mixture, pairs[step])]
        for name, share in zip("abc", shares, strict=True):
            assert abs(drawn.count(name) - share * len(drawn)) <= 2 * together


def test_a_pair_is_of_one_person_and_a_row_of_one_track(sets):
    mixture = Mixture(sets[0], [(sets[1], 0.5)])
    pairs = batches(sets[:2], mixture.shares)
    for step in range(6):
        batch = pairs[step]
        who = identities(mixture, batch)
        assert all(one == other for one, other in who)
        for row in (slice(0, 4), slice(4, 8)):
            assert len({one for one, _ in who[row]}) == len(set(batch["tracks"][row].tolist())) == 1
        assert len(set(batch["tracks"].tolist())) == len({one for one, _ in who})


def test_pictures_are_those_of_the_named_frames(sets):
    mixture = Mixture(sets[0], [(sets[1], 0.5)])
    batch = batches(sets[:2], mixture.shares)[2]
    reads = [(d, i) for d in mixture.datasets for i in range(len(d))]
    for column, name in enumerate(("source", "target")):
        for picture, frame in zip(batch[name], batch["frames"][:, column].tolist(), strict=True):
            dataset, i = reads[frame]
            np.testing.assert_array_equal(picture.permute(1, 2, 0).numpy(), dataset.read(i))
    assert int(batch["failures"]) == 0


def test_each_set_goes_through_its_own_sequence(sets):
    mixture = Mixture(sets[0], [(sets[1], 0.25)])
    pairs = batches(sets[:2], mixture.shares)
    alone = PairBatches(sets[1], "train", 8, seed=3, config=EASY)
    mixed = [
        tuple(i - len(sets[0]) for i in pair)
        for step in range(8)
        for pair in pairs[step]["frames"].tolist()
        if pair[0] >= len(sets[0])
    ]
    expected = [tuple(pair) for step in range(2) for pair in alone[step]["frames"].tolist()]
    assert mixed == expected


def test_processes_divide_the_batch_of_one(sets):
    mixture = Mixture(sets[0], [(sets[1], 0.4)])
    whole = batches(sets[:2], mixture.shares, 16)[3]
    parts = [batches(sets[:2], mixture.shares, 8, rank=rank, world_size=2)[3] for rank in range(2)]
    for name in ("source", "target", "frames", "tracks"):
        assert torch.equal(whole[name], torch.cat([part[name] for part in parts]))


def test_fingerprints_tell_frames_and_shares_apart(sets):
    a, b, c = sets
    assert Mixture(a).fingerprint == fingerprint(a)
    found = {
        Mixture(a).fingerprint,
        Mixture(a, [(b, 0.5)]).fingerprint,
        Mixture(a, [(b, 0.4)]).fingerprint,
        Mixture(b, [(a, 0.5)]).fingerprint,
        Mixture(a, [(c, 0.5)]).fingerprint,
    }
    assert len(found) == 5
    assert Mixture(a, [(b, 0.5)]).fingerprint == Mixture(a, [(b, 0.5)]).fingerprint


def test_options_are_read(sets):
    a, b, c = (dataset.path for dataset in sets)
    mixture = read_mixture(a, [f"{b}=0.5", f"{c}=.125"])
    assert [d.path for d in mixture.datasets] == [a, b, c]
    assert mixture.shares == (0.375, 0.5, 0.125)
    assert read_mixture(a, []).shares == (1.0,)


@pytest.mark.parametrize(
    ("mix", "message"),
    [
        (["b"], "--mix b: DIR=SHARE is needed"),
        (["b=half"], "--mix b=half: DIR=SHARE is needed"),
        (["b=1.0"], "a would have a share of 0 of the pairs"),
        (["b=0.7", "c=0.7"], "a would have a share of -0.4 of the pairs"),
        (["b=0"], "b would have a share of 0 of the pairs"),
        (["b=nan"], "would have a share of nan of the pairs"),
        (["nowhere=0.5"], "nowhere"),
    ],
)
def test_impossible_mixtures_are_refused(sets, monkeypatch, mix, message):
    monkeypatch.chdir(sets[0].path.parent)
    with pytest.raises((ValueError, OSError), match=message):
        read_mixture(Path("a"), mix)


def test_another_alignment_is_refused(sets):
    loose = AlignmentTemplate(((0.2, 0.2), (0.8, 0.2), (0.5, 0.5), (0.3, 0.8), (0.7, 0.8)), "loose")
    PackInfo(32, loose, {}).save(sets[1].path)
    with pytest.raises(ValueError, match="aligned to the template loose"):
        Mixture(sets[0], [(PackedDataset(sets[1].path), 0.5)])
