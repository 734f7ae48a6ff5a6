"""100,000 damaged inputs: no reader crashes but with the documented error, which names the file."""

from __future__ import annotations

import os
import random
import shutil
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcae.data.au_sets.label_files import Codes, read_table, read_unit
from tcae.data.crops import LANDMARK_COLUMNS, read_landmarks
from tcae.data.labels import read_labels
from tcae.data.shard_files import PackInfo, ShardError, read_index
from tcae.data.shards import PackedDataset
from tcae.evaluation.folds import read_folds
from tcae.methods.feature_table import read_features

# Drawing one input costs hypothesis more than reading it: it draws seeds of this many.
PER_EXAMPLE = 250
CLIPS = {("ann", "ann/T1", "0"): 4, ("bob", "bob/T1", "0"): 2, ("bob", "bob/T1", "1"): 3}
LABELS = (
    b"frame,subject,AU01,AU12\nann/T1/0/2,ann,1,9\nann/T1/0/0,ann,0,\nbob/T1/1/2,bob,,1\n"
    b'"ann/T1/0/1",ann,1,0\nbob/T1/0/1,bob,9,9\n'
)
# What means something to some reader.
PIECES = [
    b"\x00", b"\xff", b"\xff\xff\xff\xff", b"\x00\x00\x00\x80", b"\n", b'"', b",", b"/", b"[", b"{",
    b"}", b"]", b"null", b"-1", b"1e999", b"NaN", b"\xed\xa0\x80", b"\\ud800", b"9" * 30,
    b"[" * 3000, b"frame,subject", b"ann/T1/0/2", b"=cmd()", b"\xff\xd8", b"\xff\xc0", b"TCAEIDX1",
    b"\xef\xbb\xbf", "\u0661".encode(), b"\r",
]  # fmt: skip


def mutated(chance: random.Random, content: bytes) -> bytes:
    """A few bytes set, cut out, repeated, or put in."""
    damaged = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 5))):
        place = chance.randrange(len(damaged) + 1)
        span = chance.choice((1, 1, 4, 40))
        kind = chance.randrange(5)
        if kind == 0 and place < len(damaged):
            damaged[place] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del damaged[place : place + span]
        elif kind == 2:
            damaged[place:place] = damaged[place : place + span]
        elif kind == 3:
            damaged[place : place + span] = chance.randbytes(span)
        else:
            damaged[place:place] = chance.choice(PIECES)
    return bytes(damaged)


def fuzz(inputs: int, attempt: Callable[[random.Random], bytes]) -> None:
    """Let `attempt` damage, read and judge that many inputs; it returns what it damaged."""
    seen = set()

    @settings(
        max_examples=inputs // PER_EXAMPLE,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
    @given(st.integers(0, 2**64 - 1))
    def run(seed: int) -> None:
        chance = random.Random(seed)
        seen.update(attempt(chance) for _ in range(PER_EXAMPLE))

    run()
    assert len(seen) > inputs // 4  # mostly different ones, or this says nothing


@pytest.fixture
def packed(pack_frames: Callable[..., Path]) -> Iterator[Path]:
    """A packed set, in memory where that is possible: on a disk each new content takes 4 ms."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(shutil.copytree(pack_frames(CLIPS), Path(folder) / "packed"))


def expect(path: Path, read: Callable[[Path], object], kind: type[Exception]) -> bool:
    """Whether a file can be read; if not, the error is of the documented kind and names it."""
    try:
        read(path)
    except Exception as error:
        assert type(error) is kind, f"{error!r} for {path.read_bytes()!r}"
        assert str(error).startswith(str(path))
        return False
    return True


def test_indices(packed: Path) -> None:
    path = packed / "shards" / "0000.index"
    whole = path.read_bytes()

    def attempt(chance: random.Random) -> bytes:
        damaged = mutated(chance, whole)
        path.write_bytes(damaged)
        assert expect(path, read_index, ShardError) == (damaged == whole)
        return damaged

    fuzz(20_000, attempt)


def test_indices_whose_checksum_is_right(packed: Path) -> None:
    """As somebody would write them on purpose."""
    path = packed / "shards" / "0000.index"
    whole = path.read_bytes()
    text_end = 20 + struct.unpack_from("<8sIII", whole)[2]
    text, records = whole[20:text_end], whole[text_end:]
    accepted = 0

    def attempt(chance: random.Random) -> bytes:
        nonlocal accepted
        parts = [text, records]
        part = chance.randrange(2)
        parts[part] = mutated(chance, parts[part])
        payload = b"".join(parts)
        count = len(parts[1]) // (len(records) // 9)
        header = struct.pack("<8sIII", b"TCAEIDX1", zlib.crc32(payload), len(parts[0]), count)
        path.write_bytes(header + payload)
        accepted += expect(path, read_index, ShardError)
        return payload

    fuzz(25_000, attempt)
    assert accepted > 1000


def test_frames_of_indices_whose_checksum_is_right(packed: Path) -> None:
    """Any place, length, clip and number: what is read is a picture, or the error."""
    path = packed / "shards" / "0000.index"
    whole = path.read_bytes()
    text_end = 20 + struct.unpack_from("<8sIII", whole)[2]

    def attempt(chance: random.Random) -> bytes:
        records = bytearray(whole[text_end:])
        place = chance.randrange(len(records))
        records[place : place + 8] = chance.choice(
            [b"\xff" * 8, b"\x00" * 8, b"\x7f" * 8, chance.randbytes(8)]
        )[: len(records) - place]
        payload = whole[20:text_end] + records
        path.write_bytes(
            whole[:8] + struct.pack("<I", zlib.crc32(payload)) + whole[12:20] + payload
        )
        try:
            dataset = PackedDataset(packed)
            for i in range(len(dataset)):
                if expect(dataset.path, lambda _, i=i: dataset.read(i), ShardError):
                    dataset.name(i)
        except ShardError as error:
            assert str(packed) in str(error)
        return payload

    fuzz(5_000, attempt)


def test_pictures_whose_checksum_is_right(packed: Path) -> None:
    """The decoder sees every kind of damaged JPEG."""
    dataset = PackedDataset(packed)
    path = packed / "shards" / "0000.bin"
    frame = dataset.frames[0]
    start, end = int(frame["offset"]), int(frame["offset"] + frame["length"])
    whole = path.read_bytes()
    room = end - start + 2**13
    path.write_bytes(whole[:end] + bytes(room))

    def attempt(chance: random.Random) -> bytes:
        damaged = mutated(chance, whole[start:end])[:room]
        with open(path, "r+b") as file:
            file.seek(start)
            file.write(damaged)
        dataset.frames["length"][0] = len(damaged)
        dataset.frames["crc32"][0] = zlib.crc32(damaged)
        expect(path, lambda _: dataset.read(0), ShardError)
        return damaged

    fuzz(15_000, attempt)


def test_descriptions(packed: Path) -> None:
    path = packed / "dataset.json"
    whole = path.read_bytes()

    def attempt(chance: random.Random) -> bytes:
        damaged = mutated(chance, whole)
        path.write_bytes(damaged)
        expect(path, lambda p: PackInfo.load(p.parent), ShardError)
        return damaged

    fuzz(10_000, attempt)


def test_label_tables(packed: Path) -> None:
    dataset = PackedDataset(packed)
    path = packed / "labels.csv"
    accepted = 0

    def read(path: Path) -> None:
        table = read_labels(path, dataset)
        assert np.isin(table.values[~np.isnan(table.values)], (0, 1)).all()
        assert len(table.subjects) == len(table.frame_index) == len(table.values)

    def attempt(chance: random.Random) -> bytes:
        nonlocal accepted
        damaged = mutated(chance, LABELS)
        path.write_bytes(damaged)
        accepted += expect(path, read, ValueError)
        return damaged

    fuzz(25_000, attempt)
    assert accepted > 1000


OTHER_TABLES: dict[str, tuple[bytes, Callable[[Path, PackedDataset], object]]] = {
    "folds": (
        b"subject,fold\nann,1\nbob,2\ncarl,train\n",
        lambda path, _: read_folds(path, ["ann", "bob"]),
    ),
    "features": (
        b"frame,a,b\nann/T1/0/2,1.5,-2\nann/T1/0/0,0,1e-3\nbob/T1/1/2,7,8\n",
        lambda path, dataset: read_features(path, dataset, np.array([0])),
    ),
    "landmarks": (
        ",".join([*LANDMARK_COLUMNS, "track", "confidence"]).encode()
        + b"\na.mp4,0,1,2,3,4,5,6,7,8,9,10,left,.5\nb.mp4,7,1,2,3,4,5,6,7,8,9,10,,\n",
        lambda path, _: read_landmarks(path),
    ),
    "a data set's table": (
        b"frame,AU1,AU04\n1,0,1\n2,9,1\n3,,0\n",
        lambda path, _: read_table(path, (1, 4), CODES),
    ),
    "a unit's file": (b"1,0\r\n2,5\r\n3,9\r\n", lambda path, _: read_unit(path, CODES)),
}
CODES = Codes(frozenset({9}), highest=5, positive=2)


@pytest.mark.parametrize("kind", OTHER_TABLES)
def test_other_tables(packed: Path, kind: str) -> None:
    dataset = PackedDataset(packed)
    whole, read = OTHER_TABLES[kind]
    path, accepted = packed / "table.csv", 0
    path.write_bytes(whole)
    assert expect(path, lambda p: read(p, dataset), ValueError)

    def attempt(chance: random.Random) -> bytes:
        nonlocal accepted
        damaged = mutated(chance, whole)
        path.write_bytes(damaged)
        accepted += expect(path, lambda p: read(p, dataset), ValueError)
        return damaged

    fuzz(2_000, attempt)
    assert accepted > 20
