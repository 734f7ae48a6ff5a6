"""The process that packs videos, one after the other, into shards of its own."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import signal
import time
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import cv2

from tcae.data.crops import Crop, FrameMaker, Landmarks
from tcae.data.shard_files import Clip, ShardWriter
from tcae.data.sources import Source
from tcae.data.video import VideoError

FLUSH_SECONDS = 5.0  # at most this much work, and the video at hand, is lost in a crash
SHARD_BYTES = 256 * 2**20
_REPORT_SECONDS = 1.0


@dataclass(frozen=True)
class VideoRow:
    """The outcome of one video: a line of the manifest.

    Attributes:
        video: Its name in the data set.
        path: Its path below the source.
        status: "packed", "no face", "damaged" (packed as far as it could be read) or "failed".
        identity: Name of the person in it.
        frames: Frames sampled.
        faces: Faces packed.
        tracks: Tracks of these faces.
        size: Bytes of the file, or number of pictures.
        reason: What went wrong, if anything.
        length: Frames up to the last one sampled, with gaps; 0 in what older versions packed.
    """

    video: str
    path: str
    status: str
    identity: str
    frames: int = 0
    faces: int = 0
    tracks: int = 0
    size: int = 0
    reason: str = ""
    length: int = 0


# Messages to the parent: the first item says what the second one is.
#   ready    None     the worker can take videos
#   frames   int      frames sampled since the last message
#   finished VideoRow a video is packed, or failed
#   durable  None     all videos finished before are on the disk
#   warning  str      what the log of the parent should say
#   full     str      the output cannot be written; the worker ends
Message = tuple[str, Any]


class OutputError(Exception):
    """The packed data set cannot be written."""


class _Stop(Exception):
    """The worker has to end, or its parent has ended."""


def work(
    pipe: Connection, out: Path, name: str, config: FrameMaker, locks: tuple[Path, ...]
) -> None:
    """Pack videos in a worker process. It ignores Ctrl-C: the parent says when to stop.

    Args:
        pipe: Delivers (source, landmarks) tasks and a final None. Takes messages.
        out: The packed data set.
        name: Prefix of this worker's shards; no other worker may ever have it.
        config: How frames are made.
        locks: Files that stay locked, shared, as long as this process may write.
    """
    cv2.setNumThreads(1)
    logging.getLogger("tcae").handlers = [_ToParent(pipe)]
    with contextlib.ExitStack() as files:
        for path in locks:
            fcntl.flock(files.enter_context(open(path, "rb")), fcntl.LOCK_SH)
        worker = _Worker(pipe, out, name, config)
        signal.signal(signal.SIGTERM, worker.stop)
        try:
            worker.run()
        except OutputError as error:
            with contextlib.suppress(OutputError):
                worker.close()  # perhaps there is room for the index
            pipe.send(("full", str(error)))
        except (EOFError, BrokenPipeError, ConnectionResetError):
            worker.close()  # the parent has gone; what is finished is kept


class _ToParent(logging.Handler):
    """Sends warnings to the parent: it knows how its command prints them."""

    def __init__(self, pipe: Connection) -> None:
        super().__init__(logging.WARNING)
        self._pipe = pipe

    def emit(self, record: logging.LogRecord) -> None:
        self._pipe.send(("warning", record.getMessage()))


class _Worker:
    def __init__(self, pipe: Connection, out: Path, name: str, config: FrameMaker) -> None:
        self._pipe, self._out, self._name, self._config = pipe, out, name, config
        self._cropper = config.open()
        self._writer: ShardWriter | None = None
        self._shards = 0
        self._flushed = time.monotonic()
        self._reported = self._flushed
        self._frames = 0
        self._stopped = False
        self._parent = os.getppid()

    def run(self) -> None:
        self._pipe.send(("ready", None))
        try:
            while (task := self._pipe.recv()) is not None:
                self._pack(*task)
        except _Stop:
            pass
        self.close()
        self._pipe.send(("durable", None))

    def stop(self, *_: Any) -> None:
        self._stopped = True

    def close(self) -> None:
        """Write everything finished to the disk."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.drop_video()
            _guarded(writer.close)

    def _pack(self, source: Source, landmarks: Landmarks | None) -> None:
        frames = faces = length = 0
        tracks, reason = set(), ""
        try:
            for frame in self._cropper(source, landmarks):
                self._breathe()
                length = frame.number + 1
                for crop in frame.crops:
                    self._write(source, crop)
                    tracks.add(crop.track)
                    faces += 1
                frames += 1
        except VideoError as error:
            reason = str(error).removeprefix(f"{source.path}: ")
        except (OutputError, _Stop, BrokenPipeError, ConnectionResetError):
            raise
        except Exception as error:  # one odd video must not end the run
            reason = f"{type(error).__name__}: {error}"
        status = ("damaged" if faces else "failed") if reason else "packed" if faces else "no face"
        row = VideoRow(
            source.name, source.key, status, source.identity, frames, faces, len(tracks),
            _size(source), reason or ("" if faces else "no face in it"), length,
        )  # fmt: skip
        if status != "failed":  # those are tried again in the next run
            self._shard().finish_video(asdict(row))
        self._pipe.send(("finished", row))
        self._flush_now_and_then()

    def _write(self, source: Source, crop: Crop) -> None:
        clip = Clip(source.identity, source.video, crop.track)
        writer = self._shard()
        _guarded(
            lambda: writer.add(
                clip,
                crop.frame,
                crop.rgb,
                timestamp=crop.timestamp,
                confidence=crop.face.confidence,
                points=crop.face.points,
            )
        )

    def _shard(self) -> ShardWriter:
        if self._writer is None:
            name = f"{self._name}-{self._shards:04d}"
            self._shards += 1
            self._writer = _guarded(lambda: ShardWriter(self._out, name, self._config.image_size))
        return self._writer

    def _flush_now_and_then(self) -> None:
        writer = self._shard()
        if writer.size > SHARD_BYTES:
            self.close()
        elif time.monotonic() - self._flushed > FLUSH_SECONDS:
            _guarded(writer.flush)
        else:
            return
        self._flushed = time.monotonic()
        self._pipe.send(("durable", None))

    def _breathe(self) -> None:
        """Report between two frames, and check whether to continue."""
        if self._stopped or os.getppid() != self._parent:
            raise _Stop
        self._frames += 1
        if time.monotonic() - self._reported > _REPORT_SECONDS:
            self._pipe.send(("frames", self._frames))
            self._frames, self._reported = 0, time.monotonic()


def _guarded(write: Any) -> Any:
    try:
        return write()
    except OSError as error:
        raise OutputError(f"{error.filename}: {error.strerror}") from error


def _size(source: Source) -> int:
    try:
        return source.size()
    except OSError:
        return 0
