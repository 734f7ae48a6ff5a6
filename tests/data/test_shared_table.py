from __future__ import annotations

import contextlib
import pickle
import shutil

import numpy as np
import pytest

from tcae.data import shared_table
from tcae.data.clip_table import ClipTable
from tcae.data.frame_table import ENTRY, FrameTable, read_shards
from tcae.data.merging import merge
from tcae.data.packing import remove_pack
from tcae.data.shard_files import Clip
from tcae.data.shards import PackedDataset, ShardError
from tcae.data.shared_table import TABLE_FILE, open_frame_table
from tcae.pack import main

CLIPS = {
    ("bob", "bob/talk", "1"): 3,
    ("ann", "ann/news", "0"): 4,
    ("ann", "ann/film", "0"): 2,
    ("bob", "bob/talk", "0"): 3,
}
NAMES = [
    *(f"ann/film/0/{k}" for k in range(2)),
    *(f"ann/news/0/{k}" for k in range(4)),
    *(f"bob/talk/{track}/{k}" for track in (0, 1) for k in range(3)),
]


@pytest.fixture(autouse=True)
def any_set_is_worth_a_file(monkeypatch, tmp_path):
    monkeypatch.setattr(shared_table, "_WORTH_A_FILE", 1)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))


@pytest.fixture
def reads(monkeypatch):
    """The data sets whose shards were read, one after the other."""
    found = []
    monkeypatch.setattr(shared_table, "read_shards", lambda p: found.append(p) or read_shards(p))
    return found


def names(out):
    dataset = PackedDataset(out)
    assert [clip.identity for clip in dataset.clips] == sorted(clip[0] for clip in dataset.clips)
    return [dataset.name(i) for i in range(len(dataset))]


def test_the_shards_are_read_once_and_all_processes_map_the_same_file(pack_frames, reads):
    out = pack_frames(CLIPS, shards=2)
    one, other = PackedDataset(out), PackedDataset(out)
    assert reads == [out]
    truth = read_shards(out)
    for dataset in (one, other):
        assert not dataset.frames.flags.writeable  # it is the file's
        assert dataset.frames.tobytes() == truth.frames.tobytes()
        assert list(dataset.clips) == sorted(Clip(*clip) for clip in CLIPS)
        assert [dataset.name(i) for i in range(len(dataset))] == NAMES
        for i in range(len(dataset)):
            dataset.read(i)


def test_a_large_set_takes_fifty_bytes_a_frame(tmp_path):
    """As VoxCeleb2 would be at a frame a second: nine of a clip, one face in each."""
    clips = [
        Clip(f"id{k // 300:05d}", f"id{k // 300:05d}/5VVxhcKcIvM/{k:05d}", "0") for k in range(3000)
    ]
    frames = np.zeros(9 * len(clips), ENTRY)
    shared_table._write(tmp_path / "t", FrameTable((), ClipTable.of(clips), frames), [])
    assert (tmp_path / "t").stat().st_size <= 50 * len(frames)


def test_a_small_set_gets_no_file(pack_frames, monkeypatch):
    monkeypatch.undo()
    out = pack_frames(CLIPS)
    assert names(out) == NAMES
    assert not (out / TABLE_FILE).exists()


def test_other_shards_have_another_table(pack_frames, reads):
    out = pack_frames(CLIPS, shards=2)
    more = pack_frames({("cleo", "cleo/talk", "0"): 2}, name="more")
    names(out)
    for ending in ("bin", "index"):
        shutil.copy(more / "shards" / f"0000.{ending}", out / "shards" / f"9999.{ending}")
    assert names(out) == names(out) == [*NAMES, "cleo/talk/0/0", "cleo/talk/0/1"]
    # A shard of the same name and size with other frames in it.
    other = pack_frames({("dora", "dora/talk", "0"): 2}, name="other")
    for ending in ("bin", "index"):
        shutil.copy(other / "shards" / f"0000.{ending}", out / "shards" / f"9999.{ending}")
    assert names(out)[-1] == "dora/talk/0/1"
    for path in (out / "shards").glob("9999.*"):
        path.unlink()
    assert names(out) == NAMES
    assert reads.count(out) == 4


def test_a_damaged_file_is_not_believed(pack_frames):
    out = pack_frames({("ann", "ann/talk", "0"): 2})
    first = names(out)
    content = (out / TABLE_FILE).read_bytes()
    for place in range(0, len(content), 5):
        damaged = content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :]
        (out / TABLE_FILE).write_bytes(damaged)
        assert names(out) == first
        assert (out / TABLE_FILE).read_bytes() == content  # written anew
    for part in (b"", content[:9], content[:-1]):
        (out / TABLE_FILE).write_bytes(part)
        assert names(out) == first


def test_where_nothing_can_be_written_the_machine_keeps_the_file(pack_frames, reads, tmp_path):
    out = pack_frames(CLIPS)
    (out / TABLE_FILE).mkdir()  # in the way
    assert names(out) == names(out) == NAMES
    assert reads == [out]
    (folder,) = (tmp_path / "tmp").iterdir()
    assert folder.stat().st_mode & 0o077 == 0  # nobody else can write there
    shutil.rmtree(folder)
    folder.symlink_to(tmp_path)  # somebody else's idea
    assert names(out) == names(out) == NAMES
    assert len(reads) == 3


def test_who_waited_for_another_process_uses_its_file(pack_frames, reads, monkeypatch):
    out = pack_frames(CLIPS)

    @contextlib.contextmanager
    def another_was_first(shards):
        monkeypatch.undo()
        monkeypatch.setattr(shared_table, "_WORTH_A_FILE", 1)
        open_frame_table(shards.parent)
        yield

    monkeypatch.setattr(shared_table, "one_at_a_time", another_was_first)
    assert names(out) == NAMES
    assert reads == []


def test_damage_is_told_every_time(pack_frames):
    out = pack_frames(CLIPS, shards=2)
    content = (out / "shards" / "0001.bin").read_bytes()
    (out / "shards" / "0001.bin").write_bytes(content[: len(content) // 2])
    for _ in range(2):
        assert "0001.bin: truncated" in PackedDataset(out).failures[0]
    assert not (out / TABLE_FILE).exists()


def test_another_process_that_gets_the_set_maps_the_file(pack_frames):
    out = pack_frames({("ann", "ann/talk", "0"): 60})
    dataset = PackedDataset(out)
    sent = pickle.dumps(dataset)
    assert len(sent) < dataset.frames.nbytes / 2
    arrived = pickle.loads(sent)
    assert np.array_equal(arrived.read(7), dataset.read(7))
    (out / TABLE_FILE).unlink()
    with pytest.raises(ShardError, match=r"frames\.table: was changed or removed"):
        pickle.loads(sent)


def test_a_shard_that_comes_meanwhile_does_no_harm(pack_frames, monkeypatch):
    out = pack_frames(CLIPS)
    more = pack_frames({("aaron", "aaron/talk", "0"): 2}, name="more")

    def read_late(path):
        for ending in ("bin", "index"):
            shutil.copy(more / "shards" / f"0000.{ending}", out / "shards" / f"0.{ending}")
        return read_shards(path)

    monkeypatch.setattr(shared_table, "read_shards", read_late)
    for _ in range(2):  # then from the file
        dataset = PackedDataset(out)
        assert [dataset.name(i) for i in range(2)] == ["aaron/talk/0/0", "aaron/talk/0/1"]
        for i in range(len(dataset)):
            dataset.read(i)


def test_leftovers_of_a_killed_process_are_removed(pack_frames):
    out = pack_frames(CLIPS)
    (out / f"{TABLE_FILE}-abc.tmp").touch()
    names(out)
    assert sorted(p.name for p in out.iterdir()) == ["dataset.json", TABLE_FILE, "shards"]


def test_who_makes_a_set_writes_the_file(pack_frames, tmp_path, reads):
    import cv2

    for person in "abcdefgh":
        (tmp_path / "faces" / person).mkdir(parents=True)
        for k in range(2):
            picture = np.full((32, 32, 3), 90, np.uint8)
            cv2.imwrite(str(tmp_path / "faces" / person / f"{k}.png"), picture)
    out = tmp_path / "out"
    words = [str(tmp_path / "faces"), "--out", str(out), "--aligned", "--image-size=32"]
    assert main([*words, "--workers=1", "--part=2/2"]) == 0
    assert not (out / TABLE_FILE).exists()  # it would be another one after the other part
    assert main([*words, "--workers=1", "--part=1/2"]) == 0
    merge([out], tmp_path / "merged")
    assert reads == [out, tmp_path / "merged"]
    assert (
        names(out)
        == names(tmp_path / "merged")
        == [f"{p}/0/{k}" for p in "abcdefgh" for k in (0, 1)]
    )
    assert len(reads) == 2
    remove_pack(out)
    assert not (out / TABLE_FILE).exists()
