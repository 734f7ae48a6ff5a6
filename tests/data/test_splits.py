from __future__ import annotations

import hashlib

import pytest

from tcae.data.splits import split_at, split_of


def test_shares_are_75_15_10():
    splits = [split_of(f"id{i:05d}", seed=3) for i in range(20_000)]
    for name, share in [("train", 0.75), ("val", 0.15), ("test", 0.10)]:
        assert splits.count(name) / 20_000 == pytest.approx(share, abs=0.01)


def test_a_split_is_the_seeded_hash_of_the_name():
    for name in ("id09238", "Zoë", "a/b", "\udcff"):
        digest = hashlib.sha256(b"7\0" + name.encode("utf-8", "surrogateescape")).hexdigest()
        place = int(digest[:16], 16) / 16**16
        expected = "train" if place < 0.75 else "val" if place < 0.9 else "test"
        assert split_of(name, seed=7) == expected


def test_another_seed_deals_anew():
    names = [f"id{i}" for i in range(1000)]
    moved = sum(split_of(name, 0) != split_of(name, 1) for name in names)
    # Two independent draws differ with probability 1 - .75^2 - .15^2 - .1^2 = .405.
    assert 330 < moved < 480


def test_boundaries():
    places = (0, 0.7499, 0.75, 0.8999, 0.9, 0.9999)
    assert [split_at(p) for p in places] == ["train", "train", "val", "val", "test", "test"]
