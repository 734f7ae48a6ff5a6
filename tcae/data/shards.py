"""Packed frames: many JPEG pictures in a few large files, each with an index beside it.

    DIR/dataset.json         what the pictures are: size, alignment template, settings of the packer
    DIR/shards/NAME.bin      magic, then the JPEG pictures one after the other
    DIR/shards/NAME.index    magic, checksum, clip table (JSON), one fixed-size record per frame
    DIR/labels.csv           optional label table

An index is replaced as a whole, after the pictures that it names have reached the disk: a writer
that is killed leaves a set that is complete up to its last `flush`. Everything read is checked, and
nothing that is read can execute code.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import struct
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tcae.data.align import AlignmentTemplate

log = logging.getLogger(__name__)

FORMAT, VERSION = "tcae-packed-faces", 1
JPEG_QUALITY = 95
_BLOB_MAGIC = b"TCAEBIN1"
_INDEX_MAGIC = b"TCAEIDX1"
_INDEX_HEADER = struct.Struct("<8sIII")  # magic, crc32 of all that follows, JSON bytes, frames
_NOTHING = np.full((5, 2), np.nan, np.float32)
_OPEN_FILES = 64

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
# One frame of a data set in memory; `clip` indexes `PackedDataset.clips`.
_ENTRY = np.dtype(
    [
        ("clip", "<u4"),
        ("shard", "<u4"),
        ("frame", "<i8"),
        ("offset", "<u8"),
        ("length", "<u4"),
        ("crc32", "<u4"),
        ("timestamp", "<f8"),
        ("confidence", "<f4"),
    ]
)


class ShardError(ValueError):
    """A packed data set, or a file of it, is damaged, foreign or missing; the message names it."""


class Clip(NamedTuple):
    """A run of frames of one face: whose, from which video, which track in it."""

    identity: str
    video: str
    track: str


@dataclass(frozen=True)
class PackInfo:
    """What `dataset.json` says.

    Attributes:
        image_size: Side of the square pictures in pixels.
        template: Where the five points of a face lie in them.
        settings: How they were made (any JSON); packing goes on only with equal settings.
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
        except ValueError as error:
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


def write_durably(path: Path, content: bytes) -> None:
    """Replace `path` by `content`, atomically: after a crash it is the old file or the new one."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class ShardWriter:
    """Writes one shard: pictures at once, its index when `flush` is called.

    Args:
        directory: The packed data set; its `shards` folder is made if needed.
        name: File name without ending; no other writer may use it.
        image_size: Side of the pictures that will come.

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
            confidence: The detector's, in [0, 1].
            points: (5, 2) points of the face in the source picture.

        Raises:
            ValueError: A picture of the wrong shape or type.
            OSError: The disk is full; what was flushed before is safe.
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
        """End of a video: its frames and this manifest row become durable with the next flush."""
        self._videos.append(row)
        self._complete = len(self._records)
        self._complete_clips = len(self._clips)
        self._changed = True

    def drop_video(self) -> None:
        """Forget the frames added since the last finished video."""
        del self._records[self._complete :]
        self._clips = dict(list(self._clips.items())[: self._complete_clips])

    def flush(self) -> None:
        """Make all finished videos durable."""
        if not self._changed:
            return
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
        """Flush and close; a shard without a finished video leaves no file."""
        self.flush()
        self._file.close()
        if not self._videos:
            self.path.unlink()

    def _write(self, blob: bytes) -> None:
        # A raw file may write a part and then fail: what was cut off is never referred to, since
        # the next offset is taken from the file's position.
        view = memoryview(blob)
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
    """Contents of one index file."""

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
    except (ValueError, TypeError, KeyError) as error:
        raise ShardError(f"{path}: its clip table is malformed: {error}") from error
    records = np.frombuffer(content, _RECORD, count, text_end)
    if count and int(records["clip"].max()) >= len(clips):
        raise ShardError(f"{path}: a frame refers to a clip that is not there")
    return ShardIndex(clips, videos, records)


def index_files(directory: Path) -> Iterator[Path]:
    """Index files of a packed data set, sorted by name."""
    yield from sorted((directory / "shards").glob("*.index"))


class PackedDataset:
    """Random access to the frames of a packed data set, in an order that its files do not decide.

    Shards that cannot be read are left out, each with one warning line.

    Args:
        path: Directory that `python -m tcae.pack` wrote.

    Attributes:
        path: That directory.
        image_size: Side of the pictures in pixels.
        template: Alignment template of the faces.
        clips: Clips, sorted by identity, video and track.
        frames: Structured array sorted by clip and frame number, with fields `clip` (index into
            `clips`), `frame` (number in the source video), `timestamp` (s), `confidence`, and
            where the picture lies (`shard`, `offset`, `length`, `crc32`).
        failures: One line for each shard that could not be used in full.

    Raises:
        ShardError: Not a packed data set, or no readable frame in it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        info = PackInfo.load(self.path)
        self.image_size, self.template = info.image_size, info.template
        self.failures: list[str] = []
        self._shards: list[Path] = []
        self._files: OrderedDict[int, _Blobs] = OrderedDict()
        tables = [table for file in index_files(self.path) for table in self._open_shard(file)]
        self.clips = sorted({clip for clips, _ in tables for clip in clips})
        self.frames = _merge(tables, self.clips)
        if not len(self.frames):
            raise ShardError(f"{self.path}: holds no readable frame")

    def __len__(self) -> int:
        return len(self.frames)

    def name(self, i: int) -> str:
        """Unique name "video/track/frame number" of frame `i`; label tables use it."""
        clip = self.clips[self.frames["clip"][i]]
        return f"{clip.video}/{clip.track}/{self.frames['frame'][i]}"

    def identity(self, i: int) -> str:
        """Name of the person in frame `i`."""
        return self.clips[self.frames["clip"][i]].identity

    def read(self, i: int) -> NDArray[np.uint8]:
        """Picture of frame `i`: (image_size, image_size, 3) uint8, RGB.

        Raises:
            ShardError: The picture is damaged or gone.
        """
        frame = self.frames[i]
        file = self._blobs(int(frame["shard"]))
        blob = file.read(int(frame["offset"]), int(frame["length"]))
        if zlib.crc32(blob) != frame["crc32"]:
            raise ShardError(f"{file.path}: damaged at frame {self.name(i)}")
        rgb = decode_jpeg(blob)
        if rgb is None or rgb.shape != (self.image_size, self.image_size, 3):
            raise ShardError(f"{file.path}: frame {self.name(i)} is no picture of the right size")
        return rgb

    def _open_shard(self, index_path: Path) -> Iterator[tuple[list[Clip], NDArray[np.void]]]:
        """Clips and entries of a shard, if it is usable."""
        path = index_path.with_suffix(".bin")
        try:
            clips, _, records = read_index(index_path)
            end = _Blobs(path).size
        except ShardError as error:
            self._fail(f"{error}; this shard is left out")
            return
        inside = records["offset"] + records["length"] <= end
        if not inside.all():
            lost = len(records) - int(inside.sum())
            self._fail(f"{path}: truncated, {lost} of {len(records)} frames are lost")
            records = records[inside]
        entries = np.empty(len(records), _ENTRY)
        for field in set(_ENTRY.names or ()) - {"shard"}:
            entries[field] = records[field]
        entries["shard"] = len(self._shards)
        self._shards.append(path)
        yield clips, entries

    def _fail(self, line: str) -> None:
        log.warning("%s", line)
        self.failures.append(line)

    def _blobs(self, shard: int) -> _Blobs:
        if shard not in self._files:
            if len(self._files) >= _OPEN_FILES:
                self._files.popitem(last=False)
            self._files[shard] = _Blobs(self._shards[shard])
        self._files.move_to_end(shard)
        return self._files[shard]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": OrderedDict()}


def _merge(
    tables: list[tuple[list[Clip], NDArray[np.void]]], clips: list[Clip]
) -> NDArray[np.void]:
    """Entries of all shards with clip numbers of the whole set, sorted by clip and frame."""
    number = {clip: i for i, clip in enumerate(clips)}
    for local, entries in tables:
        if len(local):
            entries["clip"] = np.array([number[clip] for clip in local])[entries["clip"]]
    merged = np.concatenate([np.empty(0, _ENTRY), *(entries for _, entries in tables)])
    return merged[np.lexsort((merged["frame"], merged["clip"]))]


class _Blobs:
    """An open file of pictures; safe to share between forked processes and threads."""

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


def encode_jpeg(rgb: NDArray[np.uint8]) -> bytes:
    """JPEG of an RGB picture, with full colour resolution."""
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    options = [
        cv2.IMWRITE_JPEG_QUALITY,
        JPEG_QUALITY,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]
    return cv2.imencode(".jpg", bgr, options)[1].tobytes()


def decode_jpeg(blob: bytes) -> NDArray[np.uint8] | None:
    """RGB picture (H, W, 3) of an encoded one, or None if it cannot be decoded."""
    if not blob:
        return None
    return cv2.imdecode(np.frombuffer(blob, np.uint8), cv2.IMREAD_COLOR_RGB)  # type: ignore[return-value]
