"""Packed data sets behind a URL: a local copy of their indices, and pictures when they are needed.

    https://host/faces   s3://bucket/faces   gs://bucket/faces   hf://datasets/user/name/faces

The copy is a folder in this machine's cache. It holds all but the pictures once a set was opened.
Pictures come in blocks (`tcae.data.block_cache`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tcae.data.block_cache import BLOCK, BlockCache
from tcae.data.shard_files import ShardError, head_bytes, index_head
from tcae.files.durable import one_at_a_time, write_durably

CACHE, CACHE_GB = "TCAE_CACHE", "TCAE_CACHE_GB"
"""Environment variables: the cache's folder, and how many gigabytes of pictures it may hold."""

_DEFAULT_GB = 50.0
_URL = re.compile(r"([a-z][a-z0-9+.-]+):/+(.+)")  # in a `Path` it has one slash only
_SOURCE = "source.json"  # in a local copy: where it comes from
_TRIES, _AT_ONCE = 4, 32  # of a request; files or blocks that are asked for together


def url_of(path: str | os.PathLike[str]) -> str | None:
    """Return the URL that a path is, None if it is none.

    Example:
        >>> url_of(Path("s3://bucket/faces"))
        's3://bucket/faces'
    """
    match = _URL.fullmatch(os.fspath(path))
    return f"{match[1]}://{match[2].rstrip('/')}" if match else None


def local_path(path: str | os.PathLike[str]) -> Path:
    """Return where the indices, tables and description of a packed data set lie.

    Of one behind a URL they are brought to this machine. Of the indices that are there already only
    the heads are fetched, which hold a checksum of the rest.

    Raises:
        ShardError: It is behind a URL and cannot be read, or a package for this is missing.
    """
    url = url_of(path)
    if url is None:
        return Path(path)
    folder = _cache() / hashlib.sha256(url.encode()).hexdigest()[:16]
    (folder / "shards").mkdir(parents=True, exist_ok=True)
    with one_at_a_time(folder):
        _refresh(url, folder)
    return folder


class RemoteBlobs:
    """The pictures of a shard behind a URL, as `tcae.data.shard_files.Blobs` has those of a file.

    Args:
        path: Their URL.
        blocks: Where they are kept.
    """

    size = 2**63
    """Not known. A picture beyond the end cannot be read."""

    def __init__(self, path: str, blocks: BlockCache) -> None:
        self.path, self._blocks = path, blocks

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes at a place.

        Raises:
            ShardError: See `read_anew`.
        """
        blob = self._blocks.read(self.path, offset, length)
        return blob if len(blob) == length else self.read_anew(offset, length)

    def read_anew(self, offset: int, length: int) -> bytes:
        """Return the bytes as they are behind the URL, whatever is cached.

        Raises:
            ShardError: The file ends before them, or cannot be read.
        """
        self._blocks.forget(self.path, offset, length)
        blob = self._blocks.read(self.path, offset, length)
        if len(blob) != length:
            raise ShardError(f"{self.path}: truncated")
        return blob


class RemotePictures:
    """The pictures of a data set behind a URL.

    Args:
        url: Of the data set.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._blocks = BlockCache(_cache() / "blocks", _cache_bytes(), _fetch)

    def open(self, shard: str) -> RemoteBlobs:
        """Return the pictures of a shard."""
        return RemoteBlobs(self._shard(shard), self._blocks)

    def prefetch(self, places: Iterable[tuple[str, int, int]]) -> None:
        """Fetch places in shards together, each given by shard, offset and length.

        What cannot be fetched says so when it is read.
        """
        with contextlib.suppress(ShardError):
            self._blocks.prefetch((self._shard(name), at, length) for name, at, length in places)

    def _shard(self, name: str) -> str:
        return f"{self._url}/shards/{name}.bin"


def _fetch(keys: Sequence[tuple[str, int]]) -> Iterator[bytes]:
    """Yield blocks of files."""
    for first in range(0, len(keys), _AT_ONCE):
        some = keys[first : first + _AT_ONCE]
        yield from _ranges([(url, block * BLOCK, BLOCK) for url, block in some])


def remote_pictures(folder: Path) -> RemotePictures | None:
    """Return the pictures that belong to a local copy. None if they lie in the folder itself."""
    # Only in the cache: whoever made another folder is not to choose what is fetched.
    url = _source(folder) if folder.parent == _cache() else None
    return None if url is None else RemotePictures(url)


def _cache() -> Path:
    return Path(os.environ.get(CACHE) or Path.home() / ".cache" / "tcae")


def _cache_bytes() -> float:
    text = os.environ.get(CACHE_GB) or _DEFAULT_GB
    try:
        return 1e9 * float(text)
    except ValueError:
        raise ShardError(f"{CACHE_GB}={text}: a number of gigabytes is needed") from None


def _source(folder: Path) -> str | None:
    try:
        return str(json.loads((folder / _SOURCE).read_bytes())["url"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _refresh(url: str, folder: Path) -> None:
    """Bring a local copy up to date."""
    write_durably(folder / _SOURCE, json.dumps({"url": url}).encode())
    tables = {name for name in _names(url) if name.endswith((".json", ".csv"))} - {_SOURCE}
    indices = [name for name in _names(f"{url}/shards") if name.endswith(".index")]
    for path in (*folder.glob("*.json"), *folder.glob("*.csv"), *folder.glob("shards/*.index")):
        if path.name not in {*tables, *indices, _SOURCE}:
            path.unlink()
    _bring(url, folder, [*tables])
    heads = _ranges([(f"{url}/shards/{name}", 0, head_bytes()) for name in indices])
    places = [folder / "shards" / name for name in indices]
    changed = [path for path, head in zip(places, heads, strict=True) if _head(path) != head]
    _bring(f"{url}/shards", folder / "shards", [path.name for path in changed])


def _bring(url: str, folder: Path, names: Sequence[str]) -> None:
    """Copy files, some at a time."""
    for first in range(0, len(names), _AT_ONCE):
        some = names[first : first + _AT_ONCE]
        for name, content in zip(some, _contents([f"{url}/{n}" for n in some]), strict=True):
            write_durably(folder / name, content)


def _head(index: Path) -> bytes:
    try:
        return index_head(index)
    except FileNotFoundError:
        return b""


def _names(url: str) -> list[str]:
    """Return the names in a remote folder, sorted."""
    with _explained(url):
        files, root = _opened(url)
        return sorted({entry.rstrip("/").rpartition("/")[2] for entry in files.ls(root, False)})


def _contents(urls: Sequence[str]) -> list[bytes]:
    """Return what is in files, read at the same time."""
    with _explained(urls[0]):
        files, paths = _opened(urls[0])[0], [_opened(url)[1] for url in urls]
        found = _repeated(lambda: files.cat(paths))
        return [found[path] for path in paths]


def _ranges(places: Sequence[tuple[str, int, int]]) -> list[bytes]:
    """Return parts of files, read at the same time, each given by URL, offset and length.

    A part is shorter where the file ends.
    """
    if not places:
        return []
    urls, starts, lengths = zip(*places, strict=True)
    with _explained(urls[0]):
        files = _opened(urls[0])[0]
        paths = [_opened(url)[1] for url in urls]
        ends = [start + length for start, length in zip(starts, lengths, strict=True)]
        found = _repeated(lambda: files.cat_ranges(paths, [*starts], ends, on_error="raise"))
    for url, content, length in zip(urls, found, lengths, strict=True):
        if len(content) > length:
            raise ShardError(f"{url}: the server does not give parts of files (HTTP ranges)")
    return [bytes(content) for content in found]


def _repeated(request: Callable[[], Any]) -> Any:
    """Return what a request brings; one that fails is repeated, later each time."""
    for attempt in range(_TRIES - 1):
        try:
            return request()
        except Exception:
            time.sleep(0.2 * 2**attempt)
    return request()


def _opened(url: str) -> tuple[Any, str]:
    """Return fsspec's file system and the path in it.

    fsspec keeps one for each process, so this is cheap and right after a fork.
    """
    import fsspec

    files, path = fsspec.core.url_to_fs(url, skip_instance_cache=False)
    return files, str(path)


@contextlib.contextmanager
def _explained(url: str) -> Iterator[None]:
    """Turn whatever the clients of all these services raise into one line."""
    try:
        yield
    except ShardError:
        raise
    except ImportError as error:
        raise ShardError(f"{url}: needs 'tcae[remote]' ({error})") from None
    except Exception as error:
        line = (str(error).splitlines() or [""])[0]
        raise ShardError(f"{url}: {type(error).__name__}: {line}") from None
