from __future__ import annotations

import hashlib

from tcae.data import fingerprint as module
from tcae.data.fingerprint import fingerprint
from tcae.data.shard_files import Clip
from tcae.data.shards import PackedDataset


def test_it_is_what_checkpoints_of_older_runs_hold(pack_frames, monkeypatch):
    monkeypatch.setattr(module, "_AT_ONCE", 2)
    clips = {(name, f"{name}/talk\udcff", "0"): 3 for name in ("ann", "bob", "cleo")}
    dataset = PackedDataset(pack_frames(clips))
    kind = (dataset.image_size, dataset.template, sorted(Clip(*clip) for clip in clips))
    digest = hashlib.sha256(repr(kind).encode())
    for name in ("clip", "frame", "crc32"):
        digest.update(dataset.frames[name].tobytes())
    assert fingerprint(dataset) == digest.hexdigest()
