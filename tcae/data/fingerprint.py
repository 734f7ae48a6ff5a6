"""What identifies the frames of a packed data set."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import islice

from tcae.data.shards import PackedDataset

_AT_ONCE = 2**16  # clips or frames that are copied at a time


def fingerprint(dataset: PackedDataset) -> str:
    """Return a hash of the frames that a data set holds, however they are split into shards."""
    digest = hashlib.sha256()
    for piece in _description(dataset):
        digest.update(piece.encode())
    for name in ("clip", "frame", "crc32"):
        for start in range(0, len(dataset), _AT_ONCE):
            digest.update(dataset.frames[name][start : start + _AT_ONCE].tobytes())
    return digest.hexdigest()


def _description(dataset: PackedDataset) -> Iterator[str]:
    """Yield, piece by piece, what `repr` says of the size, the template and a list of the clips."""
    yield f"({dataset.image_size!r}, {dataset.template!r}, ["
    clips, separator = map(repr, dataset.clips), ""
    while piece := [*islice(clips, _AT_ONCE)]:
        yield separator + ", ".join(piece)
        separator = ", "
    yield "])"
