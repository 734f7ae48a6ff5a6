"""Writing of videos that all players show: H.264 in MP4, with the sound of another file."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
from av.video.reformatter import Colorspace
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tcae.data.video import open_container, start_of

log = logging.getLogger(__name__)

_TICKS = 90_000  # a second
_CODEC = "libx264"
# Without B-frames, so that packets are in the order of their times, however uneven these are.
_OPTIONS = {"crf": "20", "preset": "veryfast", "g": "50", "bf": "0", "threads": "0"}
_COPIED = ("aac", "ac3", "alac", "eac3", "mp3", "opus")  # what players find in MP4
_BT709 = 1  # as the standards number it: primaries, transfer and matrix


class VideoWriter:
    """A video that pictures are written to. It appears when the ``with`` block ends.

    If the block ends otherwise, there is no file, or the one that was there before.

    Args:
        path: The file, .mp4.
        height: Of the pictures in pixels, even.
        width: The same.
        sound_of: A video whose sound is copied, so that it fits pictures with that video's times.
            Sound of a kind that MP4 does not take is left out with a warning.

    Raises:
        ValueError: PyAV was built without an H.264 encoder, or a side is odd.

    Example:
        >>> with VideoWriter(Path("grey.mp4"), 64, 64) as video:  # doctest: +SKIP
        ...     video.write(np.full((64, 64, 3), 128, np.uint8), 0.0)
    """

    def __init__(self, path: Path, height: int, width: int, sound_of: Path | None = None) -> None:
        if height % 2 or width % 2:
            raise ValueError(f"height, width: {height}, {width}; H.264 needs even ones")
        if _CODEC not in av.codecs_available:
            raise ValueError(f"{path}: this PyAV has no H.264 encoder ({_CODEC}); pip install av")
        self._path = path
        self._temporary = path.with_name(f"{path.name}.tmp")
        self._container = av.open(
            os.path.abspath(self._temporary), "w", format="mp4", options={"movflags": "faststart"}
        )
        stream: Any = self._container.add_stream(_CODEC, options=_OPTIONS)
        self._stream: VideoStream = stream
        self._stream.height, self._stream.width = height, width
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, _TICKS)
        context = self._stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        self._last: int | None = None
        self._step = _TICKS // 25
        self._sound = None if sound_of is None else _Sound(sound_of, self._container)

    def write(self, rgb: NDArray[np.uint8], time: float) -> None:
        """Append a picture.

        Args:
            rgb: (H, W, 3) uint8.
            time: When it is shown, in seconds; later than the picture before.
        """
        frame = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(
            format="yuv420p", dst_colorspace=Colorspace.ITU709
        )
        at = round(time * _TICKS)
        frame.pts, frame.time_base = at, Fraction(1, _TICKS)
        self._step = at - self._last if self._last is not None else self._step
        self._last = at
        if self._sound is not None:
            self._sound.copy_until(time)
        self._mux(frame)

    def _mux(self, frame: av.VideoFrame | None) -> None:
        for packet in self._stream.encode(frame):
            packet.duration = self._step  # counts for the last one only
            self._container.mux(packet)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._mux(None)
                if self._sound is not None:
                    self._sound.copy_until(float("inf"))
            self._container.close()
            if kind is None:
                os.replace(self._temporary, self._path)
        finally:
            if self._sound is not None:
                self._sound.close()
            with contextlib.suppress(OSError):
                self._temporary.unlink()


class _Sound:
    """The sound of a file, packet by packet, moved so that 0 is its first picture."""

    def __init__(self, path: Path, target: av.container.OutputContainer) -> None:
        self._path, self._target = path, target
        self._source = open_container(path)
        self._packets: Iterator[tuple[float, av.Packet]] = iter(())
        stream = next(iter(self._source.streams.audio), None)
        if stream is not None and stream.codec_context.name.startswith(_COPIED):
            self._stream = target.add_stream_from_template(stream)
            self._packets = self._moved(stream)
        elif stream is not None:
            log.warning(
                "%s: its sound (%s) is left out; %s is copied",
                *(path, stream.codec_context.name, ", ".join(_COPIED)),
            )
        self._next = next(self._packets, None)

    def copy_until(self, time: float) -> None:
        """Copy the sound before a time in seconds."""
        while self._next is not None and self._next[0] <= time:
            self._target.mux(self._next[1])
            self._next = next(self._packets, None)

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    def _moved(self, stream: av.AudioStream) -> Iterator[tuple[float, av.Packet]]:
        start = start_of(self._source)
        try:
            for packet in self._source.demux(stream):
                if packet.pts is None or packet.time_base is None:
                    continue
                moved = packet.pts - round(start / packet.time_base)
                if moved + (packet.duration or 0) <= 0:
                    continue
                packet.pts = packet.dts = moved
                packet.stream = self._stream
                yield float(moved * packet.time_base), packet
        except av.FFmpegError as error:
            log.warning("%s: its sound ends early, damaged (%s)", self._path, error.strerror)
