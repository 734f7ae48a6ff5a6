"""Packed frames: many JPEG pictures in a few large files, each with an index beside it.

    DIR/dataset.json         what the pictures are: size, alignment template, settings of the packer
    DIR/shards/NAME.bin      magic, then the JPEG pictures one after the other
    DIR/shards/NAME.index    magic, checksum, clip table (JSON), one fixed-size record per frame
    DIR/labels.csv           optional label table

An index is replaced as a whole, after the pictures that it names have reached the disk. So a killed
writer leaves a data set that is complete up to its last `flush`. Everything is checked when it is
read, and nothing in these files can execute code.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tcae.data.align import AlignmentTemplate
from tcae.data.pictures import JPEG_QUALITY, encode_jpeg
from tcae.files.durable import errors_naming, write_durably

FORMAT, VERSION = "tcae-packed-faces", 1
_BLOB_MAGIC = b"TCAEBIN1"
_INDEX_MAGIC = b"TCAEIDX1"
_INDEX_HEADER = struct.Struct("<8sIII")  # magic, crc32 of all that follows, JSON bytes, frames
_NOTHING = np.full((5, 2), np.nan, np.float32)

# One frame in an index file. `points` are the face's five points in the source picture's pixels.
_RECORD = np.dtype(
    [
        ("offset", "<u8"),
        ("length", "<u4"),
        ("crc32", "<u4"),
        ("clip", "<u4"),
        ("frame", "<i8"),
        ("timestamp", "<f8"),
        ("confidence", "<f4"),
        ("points", "<f4", (5, 2)),
    ]
)


class ShardError(ValueError):
    """A packed data set or a file of it is damaged, foreign or missing. The message names it."""


class Clip(NamedTuple):
    """Frames of one face: the person, the video and the track in it."""

    identity: str
    video: str
    track: str


@dataclass(frozen=True)
class PackInfo:
    """The content of `dataset.json`.

    Attributes:
        image_size: Side of the square pictures in pixels.
        template: Where the five points of a face lie in them.
        settings: How the pictures were made (any JSON). Packing continues with equal ones only.
    """

    image_size: int
    template: AlignmentTemplate
    settings: dict[str, Any]

    def save(self, directory: Path) -> None:
        """Write `directory/dataset.json`."""
        fields = {
            "format": FORMAT,
            "version": VERSION,
            "image_size": self.image_size,
            "channels": "rgb",
            "codec": f"jpeg {JPEG_QUALITY}",
            "template": self.template.to_dict(),
            "settings": self.settings,
        }
        text = json.dumps(fields, indent=1, sort_keys=True) + "\n"
        write_durably(directory / "dataset.json", text.encode())

    @staticmethod
    def load(directory: Path) -> PackInfo:
        """Read `directory/dataset.json`.

        Raises:
            ShardError: It is missing, unreadable, of another format or another version.
        """
        path = directory / "dataset.json"
        try:
            fields = json.loads(path.read_bytes())
        except OSError as error:
            raise ShardError(
                f"{directory}: not a packed data set ({path.name}: {error.strerror}); "
                "make one with python -m tcae.pack"
            ) from error
        except (ValueError, RecursionError) as error:
            raise ShardError(f"{path}: not JSON: {error}") from error
        if not isinstance(fields, dict) or fields.get("format") != FORMAT:
            raise ShardError(f"{path}: not the description of a packed data set")
        if fields.get("version") != VERSION:
            raise ShardError(
                f"{path}: format version {fields.get('version')!r}, this program reads {VERSION}"
            )
        size, settings = fields.get("image_size"), fields.get("settings")
        if not isinstance(size, int) or size < 1 or not isinstance(settings, dict):
            raise ShardError(f"{path}: image_size or settings missing or of the wrong type")
        try:
            template = AlignmentTemplate.from_dict(fields["template"])
        except (KeyError, ValueError) as error:
            raise ShardError(f"{path}: {error}") from error
        return PackInfo(size, template, settings)


class ShardWriter:
    """Writes one shard: each picture at once, the index on `flush`.

    Args:
        directory: The packed data set. Its `shards` folder is created if needed.
        name: File name without ending. No other writer may use it.
        image_size: Side of the pictures in pixels.

    Example:
        >>> with ShardWriter(Path("faces"), "0001", 64) as shard:  # doctest: +SKIP
        ...     shard.add(Clip("ann", "talk", "0"), 0, rgb)
        ...     shard.finish_video({"source": "talk.mp4", "status": "packed"})
    """

    def __init__(self, directory: Path, name: str, image_size: int) -> None:
        folder = directory / "shards"
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{name}.bin"
        self.image_size = image_size
        self._clips: dict[Clip, int] = {}
        self._videos: list[dict[str, Any]] = []
        self._records: list[tuple[Any, ...]] = []
        self._complete = 0  # records that belong to finished videos
        self._complete_clips = 0
        self._changed = False
        self._file = open(self.path, "xb", buffering=0)  # noqa: SIM115 - closed by close()
        self._write(_BLOB_MAGIC)

    @property
    def size(self) -> int:
        """Bytes of pictures written so far."""
        return self._file.tell()

    def add(
        self,
        clip: Clip,
        frame: int,
        rgb: NDArray[np.uint8],
        *,
        timestamp: float = float("nan"),
        confidence: float = float("nan"),
        points: NDArray[np.floating[Any]] = _NOTHING,
    ) -> None:
        """Append one picture.

        Args:
            clip: Identity, video and track that it belongs to.
            frame: Its number in the source video.
            rgb: (image_size, image_size, 3) uint8.
            timestamp: Seconds from the start of the video.
            confidence: Confidence of the detector, in [0, 1].
            points: (5, 2) points of the face in the source picture.

        Raises:
            ValueError: The picture has a wrong shape or type.
            OSError: For example the disk is full. Everything flushed before is safe.
        """
        expected = (self.image_size, self.image_size, 3)
        if rgb.shape != expected or rgb.dtype != np.uint8:
            raise ValueError(f"rgb must be uint8 {expected}, not {rgb.dtype} {rgb.shape}")
        blob = encode_jpeg(rgb)
        offset = self._file.tell()
        self._write(blob)
        number = self._clips.setdefault(clip, len(self._clips))
        record = (offset, len(blob), zlib.crc32(blob), number, frame, timestamp, confidence, points)
        self._records.append(record)

    def finish_video(self, row: dict[str, Any]) -> None:
        """End a video. The next flush writes its frames and this manifest row to the disk."""
        self._videos.append(row)
        self._complete = len(self._records)
        self._complete_clips = len(self._clips)
        self._changed = True

    def drop_video(self) -> None:
        """Forget the frames added since the last finished video."""
        del self._records[self._complete :]
        self._clips = dict(list(self._clips.items())[: self._complete_clips])

    def flush(self) -> None:
        """Write all finished videos to the disk."""
        if not self._changed:
            return
        with errors_naming(self.path):
            os.fsync(self._file.fileno())
        tables = {
            "clips": [list(clip) for clip in list(self._clips)[: self._complete_clips]],
            "videos": self._videos,
        }
        text = json.dumps(tables).encode()
        records = np.array(self._records[: self._complete], dtype=_RECORD)
        payload = text + records.tobytes()
        header = _INDEX_HEADER.pack(_INDEX_MAGIC, zlib.crc32(payload), len(text), len(records))
        write_durably(self.path.with_suffix(".index"), header + payload)
        self._changed = False

    def close(self) -> None:
        """Flush and close. A shard without a finished video leaves no file."""
        self.flush()
        self._file.close()
        if not self._videos:
            self.path.unlink()

    def _write(self, blob: bytes) -> None:
        # A raw file may write a part and then fail: what was cut off is never referred to, since
        # the next offset is taken from the file's position.
        view = memoryview(blob)
        with errors_naming(self.path):
            while view:
                view = view[self._file.write(view) :]

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            self._file.close()


class ShardIndex(NamedTuple):
    """The contents of one index file."""

    clips: list[Clip]
    videos: list[dict[str, Any]]
    records: NDArray[np.void]


def read_index(path: Path) -> ShardIndex:
    """Read and check one index file.

    Raises:
        ShardError: The file cannot be read, is foreign or damaged.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ShardError(f"{path}: {error.strerror}") from error
    if len(content) < _INDEX_HEADER.size or content[:8] != _INDEX_MAGIC:
        raise ShardError(f"{path}: not a shard index")
    _, checksum, text_length, count = _INDEX_HEADER.unpack_from(content)
    text_end = _INDEX_HEADER.size + text_length
    if len(content) != text_end + count * _RECORD.itemsize:
        raise ShardError(f"{path}: {len(content)} bytes long, but its header says otherwise")
    if zlib.crc32(memoryview(content)[_INDEX_HEADER.size :]) != checksum:
        raise ShardError(f"{path}: damaged (its checksum does not match)")
    try:
        tables = json.loads(content[_INDEX_HEADER.size : text_end])
        clips = [Clip(*map(str, clip)) for clip in tables["clips"]]
        videos = [dict(row) for row in tables["videos"]]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ShardError(f"{path}: its clip table is malformed: {error}") from error
    records = np.frombuffer(content, _RECORD, count, text_end)
    if count and int(records["clip"].max()) >= len(clips):
        raise ShardError(f"{path}: a frame refers to a clip that is not there")
    return ShardIndex(clips, videos, records)


def head_bytes() -> int:
    """Return the length of the head of an index."""
    return _INDEX_HEADER.size


def index_head(path: Path) -> bytes:
    """Return the head of an index, which holds a checksum of the rest.

    Raises:
        OSError: The file cannot be read.
    """
    with open(path, "rb") as file:
        return file.read(_INDEX_HEADER.size)


def most_frames(path: Path) -> int:
    """Return how many frames an index holds at most, by its size. 0 if it cannot be read."""
    try:
        return path.stat().st_size // _RECORD.itemsize
    except OSError:
        return 0


def index_files(directory: Path) -> Iterator[Path]:
    """Return the index files of a packed data set, sorted by name."""
    yield from sorted((directory / "shards").glob("*.index"))


class Blobs:
    """An open file of pictures. Forked processes and threads may share it.

    Raises:
        ShardError: It cannot be opened or is foreign.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle = -1
        try:
            self._handle = os.open(path, os.O_RDONLY)
            self.size = os.fstat(self._handle).st_size
            if os.pread(self._handle, len(_BLOB_MAGIC), 0) != _BLOB_MAGIC:
                raise ShardError(f"{path}: not a file of packed pictures")
        except OSError as error:
            raise ShardError(f"{path}: {error.strerror}") from error

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes at a place.

        Raises:
            ShardError: The file ends before them, or cannot be read.
        """
        try:
            blob = os.pread(self._handle, length, offset)
        except (OSError, OverflowError) as error:
            raise ShardError(f"{self.path}: {error}") from error
        if len(blob) != length:
            raise ShardError(f"{self.path}: truncated")
        return blob

    def __del__(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
