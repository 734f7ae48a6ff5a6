"""The identities for training, validation and test."""

from __future__ import annotations

import hashlib
from typing import Literal

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")

TRAIN_FOLD, UNUSED_FOLD = "train", "unused"
"""Folds of a probe that have a meaning: trained on and never tested; neither of the two."""

TRAIN_SHARE, VAL_SHARE = 0.75, 0.15  # the test split has the remaining 0.10 (paper, section 4.1)


def split_of(identity: str, seed: int = 0) -> Split:
    """Return the split of an identity: a seeded hash of its name, whoever else is in the data.

    Args:
        identity: Name of the person.
        seed: Seed of the hash. Another seed gives another split.

    Returns:
        "train" (75 %), "val" (15 %) or "test" (10 %).

    Example:
        >>> split_of("id09238", seed=0) == split_of("id09238", seed=0)
        True
    """
    digest = hashlib.sha256(f"{seed}\0{identity}".encode("utf-8", "surrogateescape")).digest()
    return split_at(int.from_bytes(digest[:8], "big") / 2**64)


def split_at(position: float) -> Split:
    """Return the split at a position in [0, 1): the first 75 %, the next 15 %, the rest."""
    if position < TRAIN_SHARE:
        return "train"
    return "val" if position < TRAIN_SHARE + VAL_SHARE else "test"
