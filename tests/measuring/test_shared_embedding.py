"""Frames embedded by all processes of a team, against one that does it alone."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tcae.data.shards import PackedDataset
from tcae.evaluation.embedding import _embed, embed_frames, embed_here
from tcae.measuring.shared_embedding import shared_embedding
from tcae.methods.method import Material
from tcae.methods.registry import METHODS

Run = Callable[..., list[tuple[int, str, str]]]

# The first process embeds all frames twice; to the second one something happens the first time.
SCRIPT = """
import os, signal, sys
from pathlib import Path
import numpy as np, torch
from tcae.data.shards import PackedDataset
from tcae.measuring.shared_embedding import embed_for_rank_zero, shared_embedding
from tcae.distributed.team import team
from tcae.evaluation.embedding import embed_frames
from tcae.methods.method import Material
from tcae.methods.pixels import Pixels
from tcae.distributed import ranks

data, notes = map(Path, sys.argv[1:])

class Counted(Pixels):
    def embed(self, images):
        note = notes / str(ranks.rank())
        if ranks.rank() == 1 and not note.exists():
            note.touch()
            HAPPENS
        with open(note, "a") as file:
            file.write("." * len(images))
        return super().embed(images)

def measure():
    dataset = PackedDataset(data)
    encoder = Material(dataset).encoder(Counted(), image_size=16)
    with shared_embedding():
        assert ranks.world_size() == 1
        for _ in range(2):
            try:
                embedded = embed_frames(encoder, dataset, np.arange(10)[::-1])
            except ValueError as error:
                print("raised", error)
            else:
                np.savez(notes / "found", au=embedded.au, lines=embedded.failures)

try:
    with team("cpu", 600):
        embed_for_rank_zero(torch.device("cpu")) if ranks.rank() else measure()
except OSError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


@pytest.fixture
def data(pack_frames: Callable[..., Path]) -> Path:
    """Ten frames, of which the second and the ninth cannot be read."""
    folder = pack_frames({("id0", "v0", "0"): 10})
    entries = PackedDataset(folder).frames
    [shard] = (folder / "shards").glob("*.bin")
    content = bytearray(shard.read_bytes())
    for frame in (1, 8):
        content[int(entries["offset"][frame] + entries["length"][frame] // 2)] ^= 1
    shard.write_bytes(content)
    return folder


def run(run_team: Run, data: Path, notes: Path, happens: str, processes: int = 2):  # type: ignore[no-untyped-def]
    notes.mkdir()
    script = SCRIPT.replace("HAPPENS", happens)
    return run_team(["-c", script, str(data), str(notes)], processes)


def test_embeddings_are_those_of_one_process(data: Path, tmp_path: Path, run_team: Run) -> None:
    notes = tmp_path / "notes"
    results = run(run_team, data, notes, "pass", processes=3)
    assert [result[0] for result in results] == [0, 0, 0], results
    dataset = PackedDataset(data)
    encoder = METHODS["pixels"].make(Material(dataset))
    with shared_embedding():
        alone = embed_frames(encoder, dataset, np.arange(10)[::-1])
    found = np.load(notes / "found.npz")
    np.testing.assert_array_equal(found["au"], alone.au)
    assert np.isnan(alone.au).all(1).sum() == 2
    assert found["lines"].tolist() == list(alone.failures)
    # 4, 3 and 3 frames, less the two that cannot be read, twice; and in the first process the empty
    # picture that tells how long an embedding is.
    assert [len((notes / str(rank)).read_text()) for rank in range(3)] == [7, 6, 4]


def test_an_error_in_another_process_is_the_first_ones(
    data: Path, tmp_path: Path, run_team: Run
) -> None:
    notes = tmp_path / "notes"
    results = run(run_team, data, notes, "raise ValueError('no light')")
    assert [result[0] for result in results] == [0, 0], results
    assert results[0][1] == "raised no light\n"
    assert (notes / "found.npz").exists()  # the second time


def test_nobody_waits_for_a_process_that_died(data: Path, tmp_path: Path, run_team: Run) -> None:
    killed = "os.kill(os.getpid(), signal.SIGKILL)"
    results = run(run_team, data, tmp_path / "notes", killed, processes=3)
    assert [result[0] for result in results] == [1, -signal.SIGKILL, 1], results
    for _, _, errors in (results[0], results[2]):
        assert errors.startswith("ConnectionError: another process of the run died"), errors


def test_alone_nobody_helps() -> None:
    for wanted in (True, False):
        with shared_embedding(wanted):
            assert _embed.get() is embed_here
