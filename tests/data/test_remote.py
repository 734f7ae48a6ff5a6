"""Packed sets behind a URL: the same frames as of the folder, from servers of this machine."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from tcae.data import block_cache, remote
from tcae.data.block_cache import BlockCache
from tcae.data.fingerprint import fingerprint
from tcae.data.labels import LABELS
from tcae.data.pairs import PairBatches
from tcae.data.remote import CACHE, local_path, url_of
from tcae.data.shard_files import ShardError
from tcae.data.shards import PackedDataset

CLIPS = {(f"id{i}", f"v{i}", "0"): 4 for i in range(12)}
BLOCK = 700  # bytes: pictures of the tests cross the ends of blocks


class Served(SimpleHTTPRequestHandler):
    """Files of a folder, lists of its folders, and parts of files as HTTP/1.1 has them."""

    ranges = True

    def send_head(self) -> Any:
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        path = Path(self.translate_path(self.path))
        self.server.asked.append((self.path, asked and asked.groups()))  # type: ignore[attr-defined]
        if not asked or not self.ranges or not path.is_file():
            return super().send_head()
        start, end = map(int, asked.groups())
        content = path.read_bytes()[start : end + 1]
        self.send_response(206)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Range", f"bytes {start}-{end}/{path.stat().st_size}")
        self.end_headers()
        self.wfile.write(content)
        return None

    def log_message(self, *_: object) -> None:
        pass


Serve = Callable[..., tuple[str, list[tuple[str, tuple[str, str] | None]]]]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Function that serves a folder, and returns its URL and what is asked for."""
    pytest.importorskip("aiohttp")
    servers = []

    def start(folder: Path, **options: Any) -> tuple[str, list[Any]]:
        handler = type("Handler", (Served,), options)
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
        server.asked = []  # type: ignore[attr-defined]
        servers.append(server)
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}", server.asked  # type: ignore[attr-defined]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def small_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache, with blocks of a few hundred bytes."""
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    for module in (block_cache, remote):
        monkeypatch.setattr(module, "BLOCK", BLOCK)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    return tmp_path / "cache" / "blocks"


@pytest.fixture
def packed(pack_frames: Callable[..., Path]) -> Path:
    random = np.random.default_rng(0)
    noise = lambda clip, frame: random.integers(0, 256, (32, 32, 3))  # noqa: E731
    out = pack_frames(CLIPS, shards=3, picture=noise)
    (out / LABELS).write_text("frame,subject,AU12\nv0/0/0,id0,1\n")
    return out


def assert_same(url: str, folder: Path) -> None:
    there, here = PackedDataset(url), PackedDataset(folder)
    assert fingerprint(there) == fingerprint(here) and not there.failures
    for i in range(len(here)):
        np.testing.assert_array_equal(there.read(i), here.read(i))
        assert there.name(i) == here.name(i)
    assert (there.path / LABELS).read_bytes() == (folder / LABELS).read_bytes()


def test_over_http(packed: Path, serve: Serve, small_cache: Path) -> None:
    url, asked = serve(packed.parent)
    assert_same(f"{url}/packed/", packed)
    assert sum(path.stat().st_size for path in small_cache.iterdir()) == sum(
        path.stat().st_size for path in packed.glob("shards/*.bin")
    )
    asked.clear()
    assert_same(f"{url}/packed", packed)  # a command line makes a path of it
    assert not [path for path, _ in asked if path.endswith(".bin")]
    # Only the heads of the indices.
    indices = [part for path, part in asked if path.endswith(".index")]
    assert indices == [("0", "19")] * 3


def test_what_has_changed_is_fetched(packed: Path, serve: Serve, tmp_path: Path) -> None:
    url, _ = serve(packed.parent)
    first = len(PackedDataset(f"{url}/packed"))
    assert first == 48
    for kind in ("bin", "index"):
        shutil.move(packed / f"shards/0001.{kind}", tmp_path / f"away.{kind}")
    (packed / "folds.csv").write_text("frame,fold\n")
    assert_same(f"{url}/packed", packed)
    (packed / "folds.csv").unlink()
    assert_same(f"{url}/packed", packed)
    assert not (local_path(f"{url}/packed") / "folds.csv").exists()
    for kind in ("bin", "index"):  # other frames under a name that was there
        shutil.copy(tmp_path / f"away.{kind}", packed / f"shards/0000.{kind}")
    assert_same(f"{url}/packed", packed)


def test_batches_are_those_of_the_folder(
    packed: Path, serve: Serve, small_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, asked = serve(packed.parent)
    far, near = (PairBatches(PackedDataset(p), "train", 8, 0) for p in (f"{url}/packed", packed))
    asked.clear()
    loader = DataLoader(
        far, batch_size=None, sampler=range(3), num_workers=2, multiprocessing_context="fork"
    )
    for step, batch in enumerate(loader):
        for name, values in near[step].items():
            assert torch.equal(batch[name], values), name
    far.dataset.prefetch(range(len(far.dataset)))
    asked.clear()
    far[7]
    assert asked == []
    shutil.rmtree(small_cache)
    small_cache.mkdir()
    requests: list[int] = []  # the number of blocks in each
    ranges = remote._ranges
    monkeypatch.setattr(remote, "_ranges", lambda it: requests.append(len(it)) or ranges(it))
    far[7]
    assert sum(requests) > 8 and len(requests) == math.ceil(sum(requests) / remote._AT_ONCE)


def test_the_cache_is_bounded_and_keeps_what_was_read_last(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(block_cache, "_OFTEN", 4)
    now = iter(range(10**6))
    utime = os.utime
    monkeypatch.setattr(os, "utime", lambda file: utime(file, ns=(0, next(now))))
    fetched: list[tuple[str, int]] = []
    content = bytes(range(250)) * 200

    def fetch(keys: list[tuple[str, int]]) -> list[bytes]:
        fetched.extend(keys)
        return [content[n * BLOCK : (n + 1) * BLOCK] for _, n in keys]

    cache = BlockCache(tmp_path / "blocks", 20 * BLOCK, fetch)
    for place in range(0, len(content), 300):
        assert cache.read("a", place, 500) == content[place : place + 500]
        assert cache.read("a", 5, 10) == content[5:15]  # used all the time
        total = sum(path.stat().st_size for path in (tmp_path / "blocks").iterdir())
        assert total <= 24 * BLOCK
    assert fetched.count(("a", 0)) == 1
    assert len(fetched) == len(set(fetched)) == len(range(0, len(content), BLOCK))
    assert cache.read("a", len(content) - 3, 99) == content[-3:]
    before = len(fetched)
    cache.prefetch([("a", 0, 9), ("b", 0, 9), ("a", 10 * BLOCK - 1, 2)])
    assert {("b", 0), ("a", 9), ("a", 10)} >= set(fetched[before:]) >= {("b", 0)}


def test_a_damaged_block_is_fetched_again(packed: Path, serve: Serve, small_cache: Path) -> None:
    url, _ = serve(packed.parent)
    assert_same(f"{url}/packed", packed)
    for path in small_cache.iterdir():
        path.write_bytes(bytes(path.stat().st_size))
    assert_same(f"{url}/packed", packed)


def test_what_cannot_be_read_is_one_line(
    packed: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, _ = serve(packed.parent)
    dataset = PackedDataset(f"{url}/packed")
    (packed / "shards/0001.bin").write_bytes(b"TCAEBIN1")
    bad = int(np.flatnonzero(dataset.frames["shard"] == 1)[0])
    with pytest.raises(ShardError, match=rf"^{url}/packed/shards/0001.bin: [^\n]*$"):
        dataset.read(bad)
    with pytest.raises(ShardError, match=r"nothing/?: FileNotFoundError: [^\n]*$"):
        PackedDataset(f"{url}/nothing")
    whole, _ = serve(packed.parent, ranges=False)
    with pytest.raises(ShardError, match="does not give parts of files"):
        PackedDataset(f"{whole}/packed")
    with pytest.raises(ShardError, match=r"^nowhere://x/shards|^nowhere://x: [^\n]*$"):
        PackedDataset("nowhere://x")
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(ShardError, match=r"needs 'tcae\[remote\]'"):
        PackedDataset(f"{url}/packed")


def test_a_folder_does_not_say_what_is_fetched(packed: Path, serve: Serve) -> None:
    url, asked = serve(packed.parent)
    (packed / "source.json").write_text(json.dumps({"url": f"{url}/elsewhere"}))
    assert PackedDataset(packed).read(0).shape == (32, 32, 3) and asked == []
    assert_same(f"{url}/packed", packed)


def test_the_size_of_the_cache_is_a_number(
    packed: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, _ = serve(packed.parent)
    monkeypatch.setenv("TCAE_CACHE_GB", "all")
    with pytest.raises(ShardError, match="TCAE_CACHE_GB=all: a number of gigabytes is needed"):
        PackedDataset(f"{url}/packed")


@pytest.mark.parametrize("path", ["faces", "/data/faces", "../a:b/c", "C:/faces", "a/http://x"])
def test_folders_are_no_urls(path: str) -> None:
    assert url_of(path) is None and local_path(path) == Path(path)


def test_a_path_of_a_url_is_the_url() -> None:
    for url in ("https://a.b/c/d", "s3://bucket/faces", "hf://datasets/user/name/faces"):
        assert url_of(url) == url_of(Path(url)) == url_of(f"{url}/") == url


def test_over_s3(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server of this machine that speaks S3; pip install 'moto[s3,server]' s3fs."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    import fsspec

    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    try:
        files = fsspec.filesystem("s3")
        files.mkdir("bucket")
        files.put(str(packed), "bucket/faces", recursive=True)
        assert_same("s3://bucket/faces", packed)
        far = PairBatches(PackedDataset("s3://bucket/faces"), "train", 4, 0)
        loader = DataLoader(
            far, batch_size=None, sampler=range(2), num_workers=1, multiprocessing_context="fork"
        )
        near = PairBatches(PackedDataset(packed), "train", 4, 0)
        assert all(torch.equal(b["source"], near[s]["source"]) for s, b in enumerate(loader))
    finally:
        server.stop()
