"""Decoded pictures as a player shows them: upright, with square pixels, in ordinary colours."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import compress
from typing import Any

import av
import numpy as np
from av.filter import Graph
from numpy.typing import NDArray

from tcae.data.tone_mapping import TRANSFERS, tone_map

_TRANSPOSED = ("transpose", "cclock_flip")
_UNSPECIFIED = 2
_WIDEST_PIXEL = 4.0  # times as wide as high, or as high as wide; standards have up to 32/11


def hdr_refusal(frame: av.VideoFrame) -> str | None:
    """Return why a picture is not to be read as ordinary colours, None if it has them."""
    transfer = TRANSFERS.get(frame.color_trc)
    if transfer is None:
        return None
    return (
        f"is HDR ({transfer}), whose colours would be read washed out; --tone-map reads it (tcae "
        "analyse, extract, pack and show have it), or convert it to SDR (BT.709) first"
    )


def can_be(pixel: Fraction) -> bool:
    """Return whether a pixel can have this width, in heights of it."""
    return 1 / _WIDEST_PIXEL <= pixel <= _WIDEST_PIXEL


class Shown:
    """Makes pictures as a player shows them of the decoded frames of a video.

    FFmpeg's own filters do it: they know where colours of half the size lie, and take the fields of
    interlaced pictures apart, as no simple conversion does. HDR is tone-mapped, see
    `tcae.data.tone_mapping`.

    Args:
        pixel: Width of a stored pixel by its height.
    """

    def __init__(self, pixel: Fraction) -> None:
        self._pixel = pixel
        self._kind: tuple[object, ...] = ()
        self._graph = Graph()

    def __call__(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        """Return a frame as (H, W, 3).

        Raises:
            av.FFmpegError: It cannot be shown.
        """
        hdr = frame.color_trc in TRANSFERS
        filters = [*_turn(frame), ("format", "rgb48le" if hdr else "rgb24")]
        pixel = 1 / self._pixel if _TRANSPOSED in filters else self._pixel
        # The height of what is shown stays.
        filters.insert(-1, ("scale", f"max(trunc(iw*{float(pixel)!r})\\,1):ih"))
        kind = (frame.format.name, frame.width, frame.height, *filters)
        if kind != self._kind:
            self._kind, self._graph = kind, _chain(frame, filters)
        _leave_reserved_colours_open(frame)
        self._graph.push(frame)
        shown: Any = self._graph.pull()
        rgb = shown.to_ndarray()
        return tone_map(rgb, frame.color_trc) if hdr else rgb


def _leave_reserved_colours_open(frame: av.VideoFrame) -> None:
    """Make what a frame says of its colours without a meaning unspecified: filters refuse it."""
    for name, most in (("color_trc", 18), ("color_primaries", 22), ("colorspace", 17)):
        value = getattr(frame, name)
        is_rgb = name == "colorspace" and frame.format.is_rgb
        if value == 3 or value > most or (value == 0 and not is_rgb):  # ITU-T H.273
            setattr(frame, name, _UNSPECIFIED)


def _chain(frame: av.VideoFrame, filters: Sequence[tuple[str, str]]) -> Graph:
    graph = Graph()
    graph.threads = 1
    last = graph.add_buffer(
        width=frame.width,
        height=frame.height,
        format=frame.format,
        time_base=frame.time_base or Fraction(1, 1000),
    )
    for name, arguments in [*filters, ("buffersink", "")]:
        following = graph.add(name, arguments or None)
        last.link_to(following)
        last = following
    graph.configure()
    return graph


def _turn(frame: av.VideoFrame) -> list[tuple[str, str]]:
    """Return the filters that turn a picture as it says."""
    # Phones store the picture as the sensor saw it, with a matrix that says how to show it: what is
    # stored at (x, y) belongs at (a x + c y, b x + d y). Only its signs and larger half count.
    a, b, c, d = _matrix(frame)
    turned = abs(b) + abs(c) > abs(a) + abs(d)
    to_x, to_y = (c, b) if turned else (a, d)
    filters = [_TRANSPOSED, ("hflip", ""), ("vflip", "")]
    return list(compress(filters, (turned, to_x < 0, to_y < 0)))


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
