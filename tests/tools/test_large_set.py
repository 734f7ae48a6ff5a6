"""The made-up set of VoxCeleb2's shape is what it says, and a command is watched as it runs."""

from __future__ import annotations

import sys
import time

import pytest

from tcae.data.shards import PackedDataset
from tcae.data.sources import find_sources


@pytest.fixture
def tool(modules_of):
    """Function that imports a module of the tool."""
    return modules_of("large_set")


def test_all_frames_can_be_read_though_few_are_there(tool, tmp_path):
    made_up = tool("made_up")
    shape = made_up.Shape(people=4, videos=12, clips=70, frames=3, frames_of_shard=30, real=0.3)
    made_up.write_packed(tmp_path / "packed", shape)
    dataset = PackedDataset(tmp_path / "packed")
    assert (len(dataset), len(dataset.clips), len(dataset.clips.identities)) == (210, 70, 4)
    assert len(dataset.clips.videos) == 12 and not dataset.failures
    for i in range(len(dataset)):
        dataset.read(i)
    shards = [path.stat() for path in (tmp_path / "packed" / "shards").glob("*.bin")]
    assert len(shards) == 7 and len({it.st_ino for it in shards}) == 2


def test_a_tree_of_links(tool, tmp_path, monkeypatch):
    made_up = tool("made_up")
    monkeypatch.setattr(made_up, "_MOST_LINKS", 40)
    made_up.write_tree(tmp_path / "tree", made_up.Shape(people=4, videos=12, clips=70))
    found = find_sources(tmp_path / "tree")
    assert len(found) == 70 and len({it.identity for it in found}) == 4
    assert len({it.path.stat().st_ino for it in found}) == 2
    assert len(list(found[0].read())) == 2


def test_a_command_is_watched_until_it_is_ready(tool, tmp_path):
    flag = tmp_path / "ready"
    child = "import time; held = bytearray(30_000_000); time.sleep(60)"
    program = (
        "import pathlib, subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}])\n"
        "files = [open('/dev/null') for _ in range(50)]\n"
        f"time.sleep(0.5); pathlib.Path({str(flag)!r}).touch()\n"
        "try: time.sleep(60)\n"
        "finally: child.kill()\n"
    )
    program = f"import signal; signal.signal(15, signal.default_int_handler)\n{program}"
    begin = time.monotonic()
    seen = tool("watched").watch(
        [sys.executable, "-c", program], tmp_path / "log", flag.exists, more=0.5
    )
    assert seen.status != 0 and 0 < seen.seconds[0] < seen.seconds[1] < time.monotonic() - begin
    assert seen.memory > 30e6 and seen.largest > 30e6
    assert seen.files >= 50 and seen.processes == 2
