from __future__ import annotations

import io
import json
import pickle
import shutil
import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcae.data.align import DEFAULT_TEMPLATE
from tcae.data.shard_files import Clip, PackInfo, ShardWriter, read_index
from tcae.data.shards import PackedDataset, ShardError

CLIPS = {
    ("bob", "bob/talk", "1"): 3,
    ("ann", "ann/news", "0"): 4,
    ("ann", "ann/film", "0"): 2,
    ("bob", "bob/talk", "0"): 3,
}


def smooth(clip, frame):
    x, y = np.meshgrid(np.arange(32), np.arange(32))
    return np.stack([x * 6 + clip, y * 6 + frame, np.full_like(x, 20 * clip)], 2)


def test_order_and_names_do_not_depend_on_the_shards(pack_frames):
    one = PackedDataset(pack_frames(CLIPS, name="one", picture=smooth))
    backwards = dict(reversed(CLIPS.items()))
    many = PackedDataset(pack_frames(backwards, name="many", shards=3, picture=smooth))
    names = [f"{video}/{track}/{k}" for _, video, track in sorted(CLIPS) for k in range(9)]
    names = [name for name in names if int(name.rpartition("/")[2]) < CLIPS[_key(name)]]
    assert [one.name(i) for i in range(len(one))] == names
    assert [many.name(i) for i in range(len(many))] == names
    assert [one.identity(i) for i in range(len(one))] == ["ann"] * 6 + ["bob"] * 6
    for i in range(len(one)):
        assert np.array_equal(one.read(i), many.read(i))


def _key(name):
    video, track, _ = name.rsplit("/", 2)
    return next(clip for clip in CLIPS if clip[1:] == (video, track))


def test_pictures_times_and_points_come_back(tmp_path):
    PackInfo(32, DEFAULT_TEMPLATE, {"fps": 1.0}).save(tmp_path)
    points = np.arange(10, dtype=np.float32).reshape(5, 2)
    with ShardWriter(tmp_path, "a", 32) as shard:
        rgb = smooth(3, 1).astype(np.uint8)
        shard.add(Clip("a", "v", "0"), 25, rgb, timestamp=1.0, confidence=0.75, points=points)
        shard.finish_video({"video": "v"})
    dataset = PackedDataset(tmp_path)
    assert np.abs(dataset.read(0).astype(int) - rgb).max() <= 6  # JPEG at quality 95
    assert dataset.frames[0]["frame"] == 25
    assert dataset.frames[0]["timestamp"] == 1.0
    assert dataset.frames[0]["confidence"] == 0.75
    assert dataset.template == DEFAULT_TEMPLATE
    index = read_index(tmp_path / "shards" / "a.index")
    assert index.videos == [{"video": "v"}]
    assert np.array_equal(index.records["points"][0], points)


def test_only_finished_videos_are_durable(tmp_path):
    PackInfo(32, DEFAULT_TEMPLATE, {}).save(tmp_path)
    rgb = np.zeros((32, 32, 3), np.uint8)
    shard = ShardWriter(tmp_path, "a", 32)
    shard.add(Clip("a", "one", "0"), 0, rgb)
    shard.finish_video({"video": "one"})
    shard.add(Clip("a", "two", "0"), 0, rgb)
    shard.flush()
    assert [c.video for c in PackedDataset(tmp_path).clips] == ["one"]
    shard.drop_video()
    shard.add(Clip("a", "three", "0"), 7, rgb)
    shard.finish_video({"video": "three"})
    shard.close()
    dataset = PackedDataset(tmp_path)
    assert [dataset.name(i) for i in range(len(dataset))] == ["one/0/0", "three/0/7"]


def test_a_shard_without_a_video_leaves_no_file(tmp_path):
    ShardWriter(tmp_path, "a", 32).close()
    assert list((tmp_path / "shards").iterdir()) == []


def test_a_wrong_picture_is_refused(tmp_path):
    with ShardWriter(tmp_path, "a", 32) as shard:
        for rgb in (np.zeros((31, 32, 3), np.uint8), np.zeros((32, 32, 3), np.float32)):
            with pytest.raises(ValueError, match="rgb must be uint8"):
                shard.add(Clip("a", "v", "0"), 0, rgb)


def test_frames_packed_twice_are_used_once(pack_frames):
    out = pack_frames({("a", "v", "0"): 3})
    for ending in ("bin", "index"):
        shutil.copy(out / "shards" / f"0000.{ending}", out / "shards" / f"copy.{ending}")
    dataset = PackedDataset(out)
    assert [dataset.name(i) for i in range(len(dataset))] == ["v/0/0", "v/0/1", "v/0/2"]
    assert "3 frames are there twice" in dataset.failures[0]


def test_data_set_can_be_sent_to_another_process(pack_frames):
    dataset = PackedDataset(pack_frames(CLIPS))
    first = dataset.read(0)
    assert np.array_equal(pickle.loads(pickle.dumps(dataset)).read(0), first)


def test_many_shards_need_few_open_files(pack_frames, monkeypatch):
    monkeypatch.setattr("tcae.data.shards._OPEN_FILES", 2)
    dataset = PackedDataset(pack_frames(CLIPS, shards=4))
    for i in [*range(len(dataset)), *range(len(dataset))]:
        dataset.read(i)
    assert len(dataset._files) == 2


# Damage ------------------------------------------------------------------------------------------


def test_flipped_bit_in_a_picture(pack_frames):
    out = pack_frames(CLIPS)
    blob = out / "shards" / "0000.bin"
    content = bytearray(blob.read_bytes())
    content[len(content) // 2] ^= 1
    blob.write_bytes(content)
    dataset = PackedDataset(out)
    bad = 0
    for i in range(len(dataset)):
        try:
            dataset.read(i)
        except ShardError as error:
            bad += 1
            assert "0000.bin: damaged at frame" in str(error)
    assert bad == 1


def test_truncated_pictures(pack_frames, caplog):
    out = pack_frames(CLIPS)
    blob = out / "shards" / "0000.bin"
    content = blob.read_bytes()
    blob.write_bytes(content[: len(content) * 3 // 4])
    dataset = PackedDataset(out)
    assert 0 < len(dataset) < 12
    lost = 12 - len(dataset)
    assert dataset.failures == [f"{blob}: truncated, {lost} of 12 frames are lost"]
    assert [r.getMessage() for r in caplog.records] == dataset.failures
    for i in range(len(dataset)):
        dataset.read(i)


def test_truncated_while_open(pack_frames):
    out = pack_frames(CLIPS)
    dataset = PackedDataset(out)
    (out / "shards" / "0000.bin").write_bytes(b"TCAEBIN1")
    with pytest.raises(ShardError, match="truncated"):
        dataset.read(0)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("0000.index", b"", "not a shard index"),
        ("0000.index", b"PK\x03\x04" * 20, "not a shard index"),
        ("0000.index", pickle.dumps({"a": 1}) * 9, "not a shard index"),
        ("0000.bin", b"RIFF" * 1000, "not a file of packed pictures"),
        ("0000.bin", None, "No such file"),
    ],
)
def test_a_bad_shard_is_left_out(pack_frames, file, content, message):
    out = pack_frames(CLIPS, shards=2)
    path = out / "shards" / file
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    dataset = PackedDataset(out)
    assert {dataset.frames["shard"][i] for i in range(len(dataset))} == {0}
    assert len(dataset.clips) == 2
    (line,) = dataset.failures
    assert str(path) in line
    assert message in line


def test_no_readable_shard_is_an_error(pack_frames):
    out = pack_frames(CLIPS)
    (out / "shards" / "0000.index").write_bytes(b"junk")
    with pytest.raises(ShardError, match="no readable frame"):
        PackedDataset(out)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "not a packed data set"),
        (b"\xff\xfe", "not JSON"),
        (b"[1, 2]", "not the description of a packed data set"),
        (b'{"format": "zip"}', "not the description of a packed data set"),
        (b'{"format": "tcae-packed-faces", "version": 99}', "version 99, this program reads 1"),
        (b'{"format": "tcae-packed-faces", "version": 1}', "image_size or settings"),
    ],
)
def test_foreign_description(pack_frames, content, message):
    out = pack_frames(CLIPS)
    (out / "dataset.json").unlink()
    if content is not None:
        (out / "dataset.json").write_bytes(content)
    with pytest.raises(ShardError, match=message) as error:
        PackedDataset(out)
    assert str(out) in str(error.value)


def test_missing_directory(tmp_path):
    with pytest.raises(ShardError, match="nowhere: not a packed data set"):
        PackedDataset(tmp_path / "nowhere")


def rewritten(path, change):
    """Change the JSON of an index and make its checksum right again."""
    content = path.read_bytes()
    magic, _, length, count = struct.unpack_from("<8sIII", content)
    tables, records = json.loads(content[20 : 20 + length]), content[20 + length :]
    text = json.dumps(change(tables)).encode()
    payload = text + records
    path.write_bytes(struct.pack("<8sIII", magic, zlib.crc32(payload), len(text), count) + payload)


@pytest.mark.parametrize(
    "change",
    [
        lambda tables: [],
        lambda tables: {"clips": tables["clips"]},
        lambda tables: {**tables, "clips": [["a"]]},
        lambda tables: {**tables, "clips": 7},
        lambda tables: {**tables, "videos": [3]},
        lambda tables: {**tables, "clips": tables["clips"][:1]},
    ],
)
def test_a_well_formed_index_with_nonsense_in_it(pack_frames, change):
    out = pack_frames(CLIPS)
    rewritten(out / "shards" / "0000.index", change)
    with pytest.raises(ShardError):
        read_index(out / "shards" / "0000.index")


def test_any_flipped_bit_of_an_index_is_noticed(pack_frames):
    path = pack_frames(CLIPS) / "shards" / "0000.index"
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        with pytest.raises(ShardError):
            read_index(path)


@pytest.fixture
def packed(pack_frames):
    out = pack_frames(CLIPS, picture=smooth)
    dataset = PackedDataset(out)
    truth = {dataset.name(i): dataset.read(i) for i in range(len(dataset))}
    return out, truth, {p.name: p.read_bytes() for p in (out / "shards").iterdir()}


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_whatever_happens_to_the_bytes_no_wrong_picture_comes_out(packed, data):
    out, truth, originals = packed
    name = data.draw(st.sampled_from(sorted(originals)))
    content = bytearray(originals[name])
    for _ in range(data.draw(st.integers(1, 4))):
        kind = data.draw(st.sampled_from(["set", "cut", "insert"]))
        place = data.draw(st.integers(0, max(len(content) - 1, 0)))
        if kind == "set" and content:
            content[place] = data.draw(st.integers(0, 255))
        elif kind == "cut":
            del content[place : place + data.draw(st.integers(1, 50))]
        else:
            content[place:place] = data.draw(st.binary(min_size=1, max_size=30))
    for other, original in originals.items():
        (out / "shards" / other).write_bytes(content if other == name else original)
    try:
        dataset = PackedDataset(out)
        for i in range(len(dataset)):
            try:
                assert np.array_equal(dataset.read(i), truth[dataset.name(i)])
            except ShardError as error:
                assert str(out) in str(error)
    except ShardError as error:
        assert str(out) in str(error)


def test_nothing_that_is_read_is_unpickled(pack_frames, monkeypatch):
    def never(*_args, **_options):
        raise AssertionError("unpickled")

    out = pack_frames(CLIPS)
    monkeypatch.setattr(pickle, "loads", never)
    monkeypatch.setattr(pickle, "load", never)
    (out / "shards" / "evil.index").write_bytes(b"\x93NUMPY" + pickle.dumps(io.BytesIO))
    (out / "shards" / "evil.bin").write_bytes(b"TCAEBIN1")
    assert len(PackedDataset(out)) == 12
