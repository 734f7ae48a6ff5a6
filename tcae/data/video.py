"""Decoding of video files frame by frame, in constant memory."""

from __future__ import annotations

import contextlib
import logging
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tcae.data.pictures import decode_image, is_animated
from tcae.data.tone_mapping import TRANSFERS, tone_map
from tcae.data.video_clock import Clock
from tcae.data.video_survey import STILLS, Survey, frame_rate, in_stored_order, survey

log = logging.getLogger(__name__)

VIDEO_SUFFIXES: tuple[str, ...] = (
    *(".3g2", ".3gp", ".apng", ".asf", ".avi", ".dv", ".f4v", ".flv", ".gif", ".h264", ".hevc"),
    *(".ivf", ".m1v", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpeg"),
    *(".mpg", ".mts", ".mxf", ".ogv", ".qt", ".ts", ".vob", ".webm", ".wmv", ".y4m"),
)
# Containers that hold their own data. A list of other files, addresses among them, is a video to
# FFmpeg too, whatever its name ends with: it would read what it was not given.
_FORMATS = "mov,matroska,avi,flv,mpegts,mpeg,mpegvideo,m4v,ogg,asf,dv,mxf,yuv4mpegpipe,gif,apng,ivf"
_FORMATS += ",h264,hevc,mjpeg"
_FORMATS += ",bmp_pipe,j2k_pipe,jpeg_pipe,pgm_pipe,png_pipe,ppm_pipe,tiff_pipe,webp_pipe"
_OPTIONS = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
_IRREGULAR = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_WIDEST_PIXEL = 4.0  # times as wide as high, or as high as wide; standards have up to 32/11
_DEFAULT_BONUS = 5_000_000  # pixels; FFmpeg's weight of the mark "default"


class VideoError(ValueError):
    """A video cannot be decoded, or not to its end. The message names the file."""


@dataclass(frozen=True)
class VideoFrame:
    """One decoded picture.

    Attributes:
        index: Its number in the video, from 0. Gaps of a constant frame rate count.
        timestamp: Seconds since the first frame, larger than that of the frame before.
        rgb: (H, W, 3) uint8, as a player shows it: upright, and pixels are square.
    """

    index: int
    timestamp: float
    rgb: NDArray[np.uint8]


def read_frames(
    path: str | os.PathLike[str],
    fps: float | None = None,
    threads: int = 0,
    tone_mapped: bool = False,
) -> Iterator[VideoFrame]:
    """Decode a video.

    Frames that cannot be decoded, or that the decoder had to complete by guessing, are left out.
    They are reported after the rest has been read.

    Args:
        path: The video file.
        fps: Take the first frame at or after each multiple of 1/fps seconds; None takes all.
        threads: Decoder threads; 0: one for each core.
        tone_mapped: Read HDR in the colours of ordinary video. See `tcae.data.tone_mapping`.

    Yields:
        The frames in order of time.

    Raises:
        VideoError: The file is no video, or in HDR and not to be tone-mapped. After the last good
            frame: it is damaged or truncated.
    """
    if fps is not None and not fps > 0:
        raise ValueError(f"fps must be positive, not {fps}")
    path = os.fspath(path)
    with _opened(path) as (container, stream):
        found = survey(container, stream)
        is_still = found.pictures == 1 and container.format.name.endswith("_pipe")
    if found.is_cover:
        raise VideoError(f"{path}: has no video stream, only a cover picture")
    if is_still:
        content = Path(path).read_bytes()
        if is_animated(content):
            raise VideoError(f"{path}: is an animated WebP, which is not read; convert it to GIF")
        picture = decode_image(content)
        if picture is not None:
            yield VideoFrame(0, 0.0, picture)
            return
    with _opened(path) as (container, stream):
        stream.codec_context.thread_count = threads
        stream.thread_type = "AUTO"
        yield from _sampled(path, container, stream, found, fps, tone_mapped)


def estimated_frames(path: str | os.PathLike[str], fps: float | None = None) -> int | None:
    """Return how many frames `read_frames` will yield according to the container, None if unknown.

    Use it for progress bars only: containers can be wrong. A file that is no video gives None.
    """
    try:
        with open_container(path) as container:
            stream = _main_stream(container)
            if stream is None:
                return None
            rate = frame_rate(stream)
            count = stream.frames or int((container.duration or 0) / av.time_base * rate)
    except (av.FFmpegError, OSError):
        return None
    return (count if fps is None else min(count, int(count / rate * fps) + 1)) or None


def irregular(path: str | os.PathLike[str]) -> str | None:
    """Return what a path names, such as "a FIFO", or None for a regular file or a link to one.

    Raises:
        OSError: There is nothing.
    """
    mode = os.stat(path).st_mode
    return next((kind for is_kind, kind in _IRREGULAR if is_kind(mode)), None)


def open_container(path: str | os.PathLike[str]) -> av.container.InputContainer:
    """Open a file that holds its own data, as `read_frames` does; the caller closes it.

    Raises:
        av.FFmpegError: It is of no format that is read.
        OSError: It is no regular file.
    """
    # FFmpeg would wait for whoever writes to a FIFO, or read a device without end.
    if kind := irregular(path):
        raise OSError(f"{kind}, not a regular file")
    # An absolute path: "concat:a.mp4" would be an order, not a name. Titles may be in any encoding.
    return av.open(os.path.abspath(path), options=_OPTIONS, metadata_errors="replace")


def start_of(container: av.container.InputContainer) -> float:
    """Return the container's time in seconds of the first picture, which is 0 for `read_frames`."""
    stream = _main_stream(container)
    if stream is None or stream.start_time is None or stream.time_base is None:
        return 0.0
    return float(stream.start_time * stream.time_base)


@contextlib.contextmanager
def _opened(path: str) -> Iterator[tuple[av.container.InputContainer, VideoStream]]:
    """Open a file and choose its video stream."""
    try:
        container = open_container(path)
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"{path}: cannot be opened as a video ({_reason(error)})") from error
    with container:
        stream = _main_stream(container)
        if stream is None:
            raise VideoError(f"{path}: has no video stream{_others(container)}")
        yield container, stream


def _main_stream(container: av.container.InputContainer) -> VideoStream | None:
    """Choose the video stream that FFmpeg takes, but never a cover picture."""
    streams = [
        stream
        for stream in container.streams.video
        if not _is_cover(stream) and stream.codec_context is not None  # no decoder
    ]

    def rank(stream: VideoStream) -> tuple[bool, int]:
        # Matroska does not tell a cover from a video if it is a stream and no attachment. AVIF has
        # a single picture beside a sequence.
        video = stream.codec_context.name not in STILLS and stream.frames != 1
        bonus = _DEFAULT_BONUS if stream.disposition & Disposition.default else 0
        return video, stream.width * stream.height + bonus

    return max(streams, key=rank, default=None)


def _is_cover(stream: VideoStream) -> bool:
    return bool(stream.disposition & Disposition.attached_pic)


def _others(container: av.container.InputContainer) -> str:
    """Say what a file without a video has instead."""
    if not container.streams.video:
        return ""
    covers = all(map(_is_cover, container.streams.video))
    return ", only a cover picture" if covers else " that can be decoded"


class _Decoder:
    """Frames of a stream, and the errors on the way."""

    def __init__(self, container: av.container.InputContainer, stream: VideoStream) -> None:
        self._container, self._stream = container, stream
        self.error: Exception | None = None
        self.failed_packets = 0

    def __iter__(self) -> Iterator[av.VideoFrame]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.FFmpegError as error:  # the container itself is broken from here on
                self._note(error)
                return
            try:
                yield from packet.decode()
            except av.FFmpegError as error:
                self._note(error)

    def _note(self, error: Exception) -> None:
        self.error = self.error or error
        self.failed_packets += 1


def _sampled(
    path: str,
    container: av.container.InputContainer,
    stream: VideoStream,
    found: Survey,
    fps: float | None,
    tone_mapped: bool,
) -> Iterator[VideoFrame]:
    decoder, pixel = _Decoder(container, stream), _pixel(path, stream)
    clock = Clock(path, found, frame_rate(stream), in_stored_order(container))
    count = taken = corrupt = failed = 0
    for frame in decoder:
        clock.advance(frame, decoder.failed_packets - failed)
        failed = decoder.failed_packets
        if not tone_mapped:
            _check_range(path, frame)
        # Half a millisecond of slack: time bases such as 1/90000 cannot name 1/fps exactly.
        if frame.is_corrupt:
            corrupt += 1
        elif fps is None or clock.time >= taken / fps - 5e-4:
            yield VideoFrame(clock.number, clock.time, _as_shown(frame, pixel))
            taken = taken + 1 if fps is None else int((clock.time + 5e-4) * fps) + 1
        count += 1
    if count == corrupt:
        reason = f" ({_reason(decoder.error)})" if decoder.error else ""
        raise VideoError(f"{path}: no frame can be decoded{reason}")
    if decoder.error:
        raise VideoError(
            f"{path}: damaged, {decoder.failed_packets} packets could not be decoded "
            f"({_reason(decoder.error)}); {count - corrupt} frames could"
        )
    if corrupt:
        raise VideoError(f"{path}: damaged, {corrupt} of {count} frames could not be decoded")
    if found.skips:
        raise VideoError(
            f"{path}: damaged, {found.skips[-1][1]} pictures that its index has cannot be found"
        )
    if found.truncated:
        raise VideoError(
            f"{path}: truncated, has {found.reached:.4g} of {found.announced:.4g} seconds"
        )


def _check_range(path: str, frame: av.VideoFrame) -> None:
    if transfer := TRANSFERS.get(frame.color_trc):
        raise VideoError(
            f"{path}: is HDR ({transfer}), whose colours would be read washed out; --tone-map "
            "reads it, or convert it to SDR (BT.709) first"
        )


def _pixel(path: str, stream: VideoStream) -> float:
    """Width of a pixel by its height."""
    ratio = float(stream.sample_aspect_ratio or 1)
    if 1 / _WIDEST_PIXEL <= ratio <= _WIDEST_PIXEL:
        return ratio
    log.warning("%s: pixels %.4g times as wide as high; they are read as square", path, ratio)
    return 1.0


def _as_shown(frame: av.VideoFrame, pixel: float) -> NDArray[np.uint8]:
    # Phones store the picture as the sensor saw it, with a matrix that says how to show it: what is
    # stored at (x, y) belongs at (a x + c y, b x + d y). Only its signs and larger half count.
    a, b, c, d = _matrix(frame)
    turned = abs(b) + abs(c) > abs(a) + abs(d)
    rgb = _with_square_pixels(frame, pixel, turned)
    if turned:
        rgb, a, d = rgb.swapaxes(0, 1), c, b
    return np.ascontiguousarray(rgb[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])


def _matrix(frame: av.VideoFrame) -> tuple[float, float, float, float]:
    try:
        matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV 18 knows no EXIF data, and then gives no other either but the turn
        turn = np.deg2rad(-frame.rotation)
        return np.cos(turn), np.sin(turn), -np.sin(turn), np.cos(turn)
    if matrix is None:
        return 1, 0, 0, 1
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
    return a, b, c, d


def _with_square_pixels(frame: av.VideoFrame, pixel: float, turned: bool) -> NDArray[Any]:
    """Decode a picture, resized along what is its width when it is shown, as FFmpeg does."""
    width, height = frame.width, frame.height
    if pixel != 1 and turned:
        height = max(int(height / pixel), 1)
    elif pixel != 1:
        width = max(int(width * pixel), 1)
    hdr = frame.color_trc in TRANSFERS
    shown: Any = frame.to_ndarray(
        format="rgb48le" if hdr else "rgb24", width=width, height=height, interpolation="BICUBIC"
    )
    return tone_map(shown, frame.color_trc) if hdr else shown


def _reason(error: Exception) -> str:
    if isinstance(error, av.ArgumentError):  # FFmpeg knows the format and may not read it
        return "of no format that is read"
    return str(getattr(error, "strerror", None) or error)
