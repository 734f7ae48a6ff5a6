from __future__ import annotations

import shutil
import subprocess
import zlib
from pathlib import Path

import pytest

from tcae.data.shard_files import ShardError, read_index
from tcae.data.shards import PackedDataset
from tcae.data.verify import shard_bytes, verify
from tcae.pack import main

CLIPS = {("ann", f"ann/{i}", "0"): 5 for i in range(6)}


@pytest.fixture
def packed(pack_frames):
    return pack_frames(CLIPS, shards=3)


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_a_whole_set_is_whole_and_every_picture_was_looked_at(packed, monkeypatch):
    seen, true_crc32 = [], zlib.crc32
    monkeypatch.setattr(
        "tcae.data.verify.zlib.crc32", lambda blob: seen.append(bytes(blob)) or true_crc32(blob)
    )
    total = []
    found = verify(packed, total.append)
    assert (found.shards, found.frames, found.damages) == (3, 30, [])
    dataset = PackedDataset(packed)
    blobs = sorted((packed / "shards").glob("*.bin"))
    for frame in dataset.frames:
        content = blobs[frame["shard"]].read_bytes()
        assert content[frame["offset"] :][: frame["length"]] in seen
    assert sum(total) == shard_bytes(packed) - 3 * len("TCAEBIN1")


@pytest.mark.parametrize("merged", [1, 1000, 4 * 2**20])
def test_every_flipped_byte_is_found_and_its_file_named(packed, monkeypatch, merged):
    monkeypatch.setattr("tcae.data.verify._MERGED", merged)
    path = packed / "shards" / "0001.bin"
    records = read_index(path.with_suffix(".index")).records
    for record in records:
        place = int(record["offset"] + record["length"] // 2)
        flip(path, place)
        found = verify(packed)
        (line,) = found.damages
        assert found.frames == 29
        assert line.startswith(f"{path}: 1 of 10 pictures are damaged")
        assert f"frame {record['frame']} " in line
        flip(path, place)
    assert verify(packed).damages == []


def test_truncation_is_found(packed):
    path = packed / "shards" / "0002.bin"
    records = read_index(path.with_suffix(".index")).records
    path.write_bytes(path.read_bytes()[: int(records["offset"][7]) + 3])
    (line,) = verify(packed).damages
    assert line.startswith(f"{path}: 3 of 10 pictures are damaged or cut off, the first is frame 2")
    path.write_bytes(b"TCAEBIN1")
    assert "10 of 10 pictures" in verify(packed).damages[0]


@pytest.mark.parametrize("ending", ["bin", "index"])
def test_a_lost_or_foreign_file_is_found(packed, ending):
    path = packed / "shards" / f"0000.{ending}"
    path.write_bytes(b"what is this")
    (line,) = verify(packed).damages
    assert line.startswith(f"{path}: not a")
    path.unlink()
    (line,) = verify(packed).damages
    assert line.startswith(f"{packed / 'shards' / '0000.bin'}: ")


def test_a_flipped_byte_of_an_index_is_found(packed):
    path = packed / "shards" / "0000.index"
    flip(path, 100)
    (line,) = verify(packed).damages
    assert line == f"{path}: damaged (its checksum does not match)"


def test_a_shard_that_is_gone_altogether_is_found(write_video, tmp_path):
    write_video(tmp_path / "videos" / "talk.mp4")
    out = tmp_path / "out"
    words = ["--aligned", "--image-size", "32", "--workers", "1"]
    assert main([str(tmp_path / "videos"), "--out", str(out), *words]) == 0
    assert verify(out).damages == []
    for path in (out / "shards").iterdir():
        path.unlink()
    (line,) = verify(out).damages
    assert line == f"{out / 'manifest.csv'}: video talk was packed, but no shard holds it"


def test_not_a_packed_set(tmp_path):
    with pytest.raises(ShardError, match="not a packed data set"):
        verify(tmp_path)


def test_the_command(packed, capfd, tmp_path):
    assert main(["--verify", str(packed)]) == 0
    assert capfd.readouterr().out == f"{packed}: 30 frames in 3 shards are whole; no damage\n"
    flip(packed / "shards" / "0001.bin", 2000)
    assert main([f"--verify={packed}"]) == 1
    captured = capfd.readouterr()
    assert "0001.bin: 1 of 10 pictures" in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == f"{packed}: 29 frames in 3 shards are whole; 1 damages\n"
    assert main(["--verify", str(tmp_path / "none")]) == 2
    assert "not a packed data set" in capfd.readouterr().err


@pytest.fixture
def read_only(packed, tmp_path):
    """The packed set on a mount that nobody can write to."""
    mount = tmp_path / "mounted"
    mount.mkdir()
    make = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(mount)]
    if subprocess.run(make, capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system")
    try:
        shutil.copytree(packed, mount / "set")
        subprocess.run(["mount", "-o", "remount,ro", str(mount)], check=True)
        yield mount / "set"
    finally:
        subprocess.run(["umount", str(mount)], check=True)


def test_a_read_only_mount_is_read_and_verified(read_only, packed):
    with pytest.raises(OSError, match="Read-only"):
        (read_only / "new").write_text("x")
    assert verify(read_only).frames == 30
    mounted, writable = PackedDataset(read_only), PackedDataset(packed)
    assert all((mounted.read(i) == writable.read(i)).all() for i in range(30))
