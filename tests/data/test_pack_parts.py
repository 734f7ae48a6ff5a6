from __future__ import annotations

import csv
import fcntl
import os
import shutil

import cv2
import numpy as np
import pytest

from tcae.data.merging import merge
from tcae.data.pack_parts import WHOLE, Part, Writer
from tcae.data.shards import PackedDataset, ShardError
from tcae.data.verify import verify
from tcae.pack import main


@pytest.fixture(autouse=True)
def no_patience(monkeypatch):
    monkeypatch.setattr("tcae.files.durable._LOCK_SECONDS", 0.2)


@pytest.fixture
def pictures(tmp_path):
    """Function that makes folders of two pictures for some people."""

    def make(name, people):
        for person in people:
            for k in range(2):
                path = tmp_path / name / person / "talk" / f"{k}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), np.full((40, 40, 3), 90 * k, np.uint8))
        return tmp_path / name

    return make


def pack(source, out, *options):
    words = ["--aligned", "--image-size", "32", "--workers", "1", *options]
    return main([str(source), "--out", str(out), *words])


def names(out):
    dataset = PackedDataset(out)
    assert dataset.failures == []
    return [dataset.name(i) for i in range(len(dataset))]


def videos(out):
    with open(out / "manifest.csv", newline="") as file:
        return {row["video"]: row["status"] for row in csv.DictReader(file)}


def test_packs_of_two_machines_copied_together_keep_all_frames(pictures, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    assert pack(pictures("a", ["ann", "bob"]), one) == 0
    assert pack(pictures("b", ["cleo", "dan"]), two) == 0
    everything = names(one) + names(two)
    shutil.copytree(two, one, dirs_exist_ok=True)
    assert names(one) == everything
    assert len(everything) == 8


def test_the_parts_are_all_videos_each_once():
    keys = [f"id{i:03d}/talk" for i in range(400)]
    shares = [[key for key in keys if Part(k, 4).holds(key)] for k in range(1, 5)]
    assert sorted(key for share in shares for key in share) == keys
    assert min(map(len, shares)) > 70


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "-1/3", "1/0"])
def test_a_wrong_part_is_refused(text, pictures, tmp_path, capfd):
    assert pack(pictures("a", ["ann"]), tmp_path / "out", f"--part={text}") == 2
    assert f"--part must be K/N with K from 1 to N, not {text}" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_parts_make_one_set_and_verify_names_the_missing_one(pictures, tmp_path):
    source, out = pictures("a", [f"id{i}" for i in range(8)]), tmp_path / "out"
    assert pack(source, tmp_path / "whole") == 0
    assert pack(source, out, "--part", "2/2") == 0
    assert 0 < len(names(out)) < 16
    assert verify(out).damages == [f"{out}: part 1/2 was not packed to its end"]
    shutil.copytree(out, tmp_path / "half")
    assert pack(source, tmp_path / "half") == 0  # the rest without parts
    assert verify(tmp_path / "half").damages == []
    assert pack(source, out, "--part", "1/2") == 0
    assert names(out) == names(tmp_path / "half") == names(tmp_path / "whole")
    assert verify(out).damages == []
    assert videos(out) == videos(tmp_path / "whole")


def test_packers_of_other_parts_write_at_the_same_time(pictures, tmp_path, capfd):
    source, out = pictures("a", [f"id{i}" for i in range(8)]), tmp_path / "out"
    assert pack(source, out, "--part", "1/2") == 0
    unfinished = out / "shards" / "0001-1of2-abc-000-0000.bin"
    with Writer(out, Part(1, 2)) as writer:
        writer.share()
        unfinished.touch()
        assert pack(source, out, "--part", "2/2") == 0
        assert unfinished.exists()  # the other one's
        capfd.readouterr()
        for options in (["--part", "1/2"], ["--part", "1/3"], []):
            assert pack(source, out, *options) == 2
            assert f"{out}: another tcae.pack is writing to it" in capfd.readouterr().err
    assert pack(source, out, "--part", "1/2") == 0
    assert not unfinished.exists()
    assert len(names(out)) == 16
    with Writer(out, WHOLE) as writer:
        writer.share()
        assert pack(source, out, "--part", "2/2") == 2


def test_verify_says_that_a_pack_without_parts_was_killed(pictures, tmp_path):
    """It writes its manifest last, so nothing else tells."""
    source, out, other = pictures("a", ["ann", "bob"]), tmp_path / "out", tmp_path / "other"
    assert pack(source, out) == pack(pictures("b", ["cleo"]), other) == 0
    assert verify(out).damages == []
    with Writer(out, WHOLE):
        pass  # it ends early
    complaint = "was not packed to its end; the same command again goes on"
    assert verify(out).damages == [f"{out}: {complaint}"]
    for k, order in enumerate([(out, other), (other, out)]):
        both = tmp_path / f"both-{k}"
        merge(order, both)
        assert verify(both).damages == [f"{both}: {complaint}"]
    assert pack(source, out) == 0
    assert verify(out).damages == []


def test_merged_sets_are_links_to_the_same_files(pack_frames, tmp_path):
    """As older packers wrote them: with the same names everywhere."""
    clips = {"one": {("ann", "ann/a", "0"): 3}, "two": {("bob", "bob/b", "0"): 4}}
    sets = [pack_frames(own, name=name, shards=1) for name, own in clips.items()]
    out = tmp_path / "both"
    assert main(["--merge", *map(str, sets), "--out", str(out)]) == 0
    dataset = PackedDataset(out)
    assert dataset.failures == [] and len(dataset) == 7
    for i in range(7):
        part = PackedDataset(sets[i >= 3])
        assert np.array_equal(dataset.read(i), part.read(i if i < 3 else i - 3))
    found = {path.stat().st_ino for path in (out / "shards").glob("*.bin")}
    assert found == {path.stat().st_ino for s in sets for path in (s / "shards").glob("*.bin")}


def test_a_merge_remembers_parts_and_failures(pictures, tmp_path):
    source = pictures("a", [f"id{i}" for i in range(8)])
    (source / "junk.mp4").write_bytes(b"no video")
    for k in (1, 2, 3):
        pack(source, tmp_path / f"p{k}", "--part", f"{k}/3")
    out = tmp_path / "out"
    merge([tmp_path / "p1", tmp_path / "p3"], out)
    assert verify(out).damages == [f"{out}: part 2/3 was not packed to its end"]
    full = tmp_path / "full"
    merge([tmp_path / f"p{k}" for k in (1, 2, 3)], full)
    assert verify(full).damages == []
    assert len(names(full)) == 16
    assert videos(full)["junk"] == "failed"
    assert pack(source, full) == 1  # goes on: nothing but the junk is left to do
    assert len(names(full)) == 16


def test_what_does_not_fit_together_is_refused_and_nothing_is_written(
    pack_frames, tmp_path, monkeypatch
):
    one = pack_frames({("ann", "ann/a", "0"): 3}, name="one")
    larger = pack_frames({("bob", "bob/b", "0"): 3}, name="larger", size=64)
    again = pack_frames({("ann", "ann/a", "0"): 2}, name="again")
    other = pack_frames({("bob", "bob/b", "0"): 3}, name="other")
    out = tmp_path / "out"
    with pytest.raises(ValueError, match=r"larger: was packed with image_size 64, .*one with 32"):
        merge([one, larger], out)
    with pytest.raises(ValueError, match=r"again: video ann/a is in .*one too"):
        merge([one, again], out)
    with pytest.raises(ShardError, match="not a packed data set"):
        merge([one, tmp_path / "none"], out)
    (other / "labels.csv").touch()
    with pytest.raises(ValueError, match=r"labels\.csv: tables of labels and folds"):
        merge([one, other], out)
    (other / "labels.csv").unlink()
    assert not out.exists()
    with pytest.raises(ValueError, match="already there"):
        merge([one, other], other)

    def elsewhere(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", elsewhere)
    with pytest.raises(OSError, match=r"on another file system than --out"):
        merge([one, other], out)


def test_a_set_of_an_older_packer_goes_on(pictures, tmp_path):
    source, out = pictures("a", ["ann", "bob"]), tmp_path / "out"
    assert pack(source, out) == 0
    for path in (out / "shards").iterdir():  # as it named them, without lock files
        path.rename(path.with_name(f"0000-000-0000{path.suffix}"))
    (out / "shards" / "0000-000-0000.lock").unlink()
    before = names(out)
    pictures("a", ["cleo"])
    assert pack(source, out) == 0
    assert names(out) == [*before, "cleo/talk/0/0", "cleo/talk/0/1"]
    with open(out / "shards" / "1of1.lock", "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
