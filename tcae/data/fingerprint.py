"""What identifies the frames of a packed data set."""

from __future__ import annotations

import hashlib

from tcae.data.shards import PackedDataset


def fingerprint(dataset: PackedDataset) -> str:
    """Return a hash of the frames that a data set holds, however they are split into shards."""
    kind = (dataset.image_size, dataset.template, dataset.clips)
    digest = hashlib.sha256(repr(kind).encode())
    for name in ("clip", "frame", "crc32"):
        digest.update(dataset.frames[name].tobytes())
    return digest.hexdigest()
