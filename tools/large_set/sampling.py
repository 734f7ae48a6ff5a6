"""Measures in one process what a packed set costs before any picture is trained on.

usage: python sampling.py DIR

Prints a JSON object: seconds of processor time, memory in bytes.
"""

from __future__ import annotations

import json
import sys
import time
from itertools import count
from pathlib import Path

import tcae.data.shards as shards
from tcae.data.fingerprint import fingerprint
from tcae.data.pairs import PAIRS_PRESETS, PairBatches

_BATCHES, _BATCH = 20, 64


def memory() -> dict[str, int]:
    """Return the memory of this process in bytes, by kind."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    sizes = {line.split()[0].rstrip(":"): int(line.split()[1]) << 10 for line in lines}
    return {"all": sizes["Rss"], "own": sizes["Anonymous"]}


def main() -> None:
    """Measure."""
    before, found = memory(), {}

    def clocked(name: str, begin: float) -> None:
        found[name] = time.process_time() - begin

    begin = time.process_time()
    dataset = shards.PackedDataset(sys.argv[1])
    clocked("opening", begin)
    begin = time.process_time()
    fingerprint(dataset)
    clocked("fingerprint", begin)
    begin = time.process_time()
    config = PAIRS_PRESETS["default"]
    pairs = PairBatches(dataset, "train", _BATCH, seed=0, config=config)
    clocked("pairs", begin)
    rows = len(pairs.identities)
    begin = time.process_time()
    for row in range(rows):
        pairs.frames_at(row * pairs.together)
    clocked("an epoch's draws, each person once", begin)

    opened, blobs = count(), shards.Blobs

    def counted(path: Path) -> shards.Blobs:
        next(opened)
        return blobs(path)

    shards.Blobs = counted  # type: ignore[assignment,misc]
    begin = time.process_time()
    for step in range(_BATCHES):
        pairs[step]
    clocked("a batch", begin)
    found["a batch"] /= _BATCHES
    after = memory()
    print(
        json.dumps(
            {
                "seconds": found,
                "frames": len(dataset),
                "people to train on": rows,
                "files opened for a batch": next(opened) / _BATCHES,
                "files": len(list((dataset.path / "shards").iterdir())),
                "memory": {kind: after[kind] - before[kind] for kind in before},
            }
        )
    )


if __name__ == "__main__":
    main()
