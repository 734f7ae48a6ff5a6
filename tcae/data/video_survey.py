"""What a video file holds according to its packets, before anything is decoded."""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_right
from dataclasses import dataclass

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tcae.data.file_ends import Last, is_cut_off

STILLS = ("bmp", "gif", "jpeg2000", "mjpeg", "png", "tiff", "webp")
"""Codecs of covers."""

_SLACK = 0.02  # of a slot, by which a picture may be off; more where the container rounds times
_MOST_SLACK = 0.4
_USUAL = 0.5  # share of the pictures that follow the one before by one slot, at least
_LATE = 2.0  # slots by which a file may end early, and this share of its length
_LATE_SHARE = 0.02
_BROKEN = 10.0  # seconds to the next picture that are a break of the container's time, as for
_WRONG = 30 * 3600.0  # FFmpeg; where time cannot break, so many are an error
_CAN_BREAK = 0x0200  # AVFMT_TS_DISCONT
_CHUNK_HEADER = 8  # bytes before a picture in AVI


@dataclass(frozen=True)
class Survey:
    """The packets of a video stream.

    Attributes:
        pictures: Their number, without those that are never shown.
        slots: Number of frames of constant rate from the first to the last picture, if each
            picture is in one; None if pictures come at any time.
        leap: Seconds from a picture to the next that its time cannot mean.
        first: Time of the first picture in seconds, None if unknown. See `own_time`.
        reached: Seconds that the file has.
        announced: Seconds that its header tells, 0 if it does not.
        truncated: Whether it ends much earlier than announced.
        cut_off: Whether its last bytes are missing, see `tcae.data.file_ends`.
        is_cover: Whether this is the picture of a sound file.
        skips: Where pictures are gone from an AVI file that its index has: the container's number
            of the next one, and by how much the numbers are too small from there on.
    """

    pictures: int
    slots: int | None
    leap: float
    first: float | None
    reached: float
    announced: float
    truncated: bool
    cut_off: bool
    is_cover: bool
    skips: tuple[tuple[int, int], ...]

    def skipped(self, number: int) -> int:
        """Return by how much the container's number of a picture is too small."""
        place = bisect_right(self.skips, (number, sys.maxsize))
        return self.skips[place - 1][1] if place else 0


def in_stored_order(container: av.container.Container) -> bool:
    """Return whether pictures are numbered as they are stored, not as they are shown.

    FFmpeg's times of presentation are guesses in AVI.
    """
    return container.format.name == "avi"


def frame_rate(stream: VideoStream) -> float:
    """Return the frames per second that a container tells or that FFmpeg guesses, else 25."""
    if in_stored_order(stream.container) and stream.time_base:
        return float(1 / stream.time_base)
    return float(stream.guessed_rate or 25)


def own_time(item: av.Packet | av.VideoFrame, stored_order: bool) -> float | None:
    """Return the time in seconds that the container gives to a picture, None if it has none."""
    ticks = item.dts if stored_order else item.pts
    return None if ticks is None or item.time_base is None else float(ticks * item.time_base)


def survey(container: av.container.InputContainer, stream: VideoStream) -> Survey:
    """Read all packets of a file, without decoding any. The container is at its end afterwards.

    Errors of the container are no errors here: the packets before them count.
    """
    stored_order = in_stored_order(container)
    rate, index = frame_rate(stream), _Index(stream, stored_order)
    times, ends, pictures = array("d"), dict[int, float](), 0
    first: float | None = None
    last = Last(0, 0)
    try:
        for packet in container.demux():
            time = own_time(packet, stored_order)
            _extend(ends, packet)
            last = last._replace(end=max(last.end, (packet.pos or 0) + packet.size))
            if packet.stream_index != stream.index or not packet.size or packet.is_discard:
                continue
            pictures += 1
            last = last._replace(size=last.size or packet.size)
            gone = index.gone(packet)
            if time is not None:
                times.append(time + gone / rate)
                first = times[-1] if first is None and packet.is_keyframe else first
    except av.FFmpegError:
        pass
    leap = _BROKEN if container.format.flags & _CAN_BREAK else _WRONG
    slots = None
    if len(times) == pictures and pictures:
        slack = 2 * float(stream.time_base or 0) * rate + _SLACK
        slots = _slots(np.array(times) * rate, min(slack, _MOST_SLACK), leap * rate, stored_order)
    reached, announced = _length(container, stream, ends)
    allowed = max(_LATE / rate, _LATE_SHARE * announced)
    return Survey(
        pictures,
        slots,
        leap,
        first,
        reached,
        announced,
        reached < announced - allowed,
        is_cut_off(container.name, container.format.name, last),
        stream.codec_context.name in STILLS and pictures == 1 and bool(container.streams.audio),
        tuple(index.skips),
    )


class _Index:
    """The index of an AVI file, which still has the pictures that were overwritten in it.

    FFmpeg numbers what it finds. Only the index knows that something is gone before a picture.
    """

    def __init__(self, stream: VideoStream, stored_order: bool) -> None:
        entries = stream.index_entries if stored_order else ()
        self._numbers = {entry.pos: entry.timestamp for entry in entries}
        self.skips: list[tuple[int, int]] = []

    def gone(self, packet: av.Packet) -> int:
        """Return how many pictures are gone before a packet."""
        before = self.skips[-1][1] if self.skips else 0
        if packet.pos is None or packet.dts is None:
            return before
        gone = self._numbers.get(packet.pos - _CHUNK_HEADER, packet.dts) - packet.dts
        if gone > before:
            self.skips.append((packet.dts, gone))
        return max(gone, before)


def _extend(ends: dict[int, float], packet: av.Packet) -> None:
    """Note when a stream ends so far, in seconds."""
    ticks = packet.dts if packet.pts is None else packet.pts
    if ticks is not None:
        end = float((ticks + (packet.duration or 0)) * packet.time_base)
        ends[packet.stream_index] = max(ends.get(packet.stream_index, end), end)


def _slots(places: NDArray[np.float64], slack: float, leap: float, always: bool) -> int | None:
    """Return how many slots there are from the first to the last of these places, in slots.

    Args:
        places: (n,) where pictures are, in any order.
        slack: How far a step may be from a whole number.
        leap: A step of so many slots or more is a break.
        always: Whether the container has nothing but slots.
    """
    steps = np.diff(np.sort(places))
    steps[steps >= leap] = 1
    whole = np.rint(steps)
    if (whole < 1).any() or (abs(steps - whole) > slack).any():
        return None
    # The usual step of a file with a wrong or doubled rate is another one.
    if not always and len(steps) and np.mean(whole == 1) < _USUAL:
        return None
    return 1 + int(whole.sum())


def _length(
    container: av.container.InputContainer, stream: VideoStream, ends: dict[int, float]
) -> tuple[float, float]:
    """Return how long a file is and how long its header says that it is, in seconds.

    Sound may be longer than the video. If the header tells the length of the video alone, only
    that counts. MPEG-TS, MPEG-PS and raw streams tell none: FFmpeg looks for their last packet.
    """
    end = ends.get(stream.index, 0.0)
    names = container.format.name.split(",")
    if "avi" in names and stream.frames:
        return end, stream.frames / frame_rate(stream)
    if "mov" in names and stream.duration and stream.time_base:
        start = float((stream.start_time or 0) * stream.time_base)
        return end - start, float(stream.duration * stream.time_base)
    tagged = _seconds(stream.metadata.get("DURATION", ""))
    if tagged is not None:
        return end, tagged
    start = (container.start_time or 0) / av.time_base
    return max(ends.values(), default=0.0) - start, (container.duration or 0) / av.time_base


def _seconds(tag: str) -> float | None:
    """Return the seconds of a tag such as 00:01:02.500000000, None if it is something else."""
    try:
        hours, minutes, seconds = map(float, tag.split(":"))
    except ValueError:
        return None
    return 3600 * hours + 60 * minutes + seconds
