"""Picture files of any kind, as a viewer shows them."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from fractions import Fraction

import av
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray

from tcae.data.pictures import decode_image, is_animated
from tcae.data.shown import Shown, can_be, hdr_refusal

# AVIF has a turn and HDR that OpenCV leaves out, PNM a largest value.
_PNM = (b"P2", b"P3", b"P5", b"P6")
_FORMATS = "mov,jpeg_pipe,png_pipe,ppm_pipe"


class StillError(ValueError):
    """A file is not read as a picture. The message says why, without its name."""


def read_still(content: bytes, tone_mapped: bool = False) -> NDArray[np.uint8]:
    """Return the picture that a file holds, as a viewer shows it, but without transparency.

    OpenCV reads what is ordinary, FFmpeg the rest: AVIF, PNM, HDR, pixels that are not square.

    Args:
        content: Of the file.
        tone_mapped: Read HDR in the colours of an ordinary picture. See `tcae.data.tone_mapping`.

    Returns:
        (H, W, 3) RGB.

    Raises:
        StillError: It is damaged, cut off, of an unknown format or an animation. Or it is in HDR
            and not to be tone-mapped.
    """
    if is_animated(content):
        raise StillError("is an animation, not a picture; convert it to a video or a GIF")
    ordinary = _is_ordinary(content)
    picture = decode_image(content) if ordinary else _by_ffmpeg(content, tone_mapped)
    if picture is None:
        raise StillError("cannot be read as a picture")
    return picture


def _is_ordinary(content: bytes) -> bool:
    if content[:2] in _PNM or content[4:12] == b"ftypavif":
        return False
    if content[:4] == b"\x89PNG":
        chunks = dict(_png_chunks(content))
        shape = chunks.get(b"pHYs", b"")
        return b"cICP" not in chunks and not (len(shape) == 9 and _is_oblong(shape))
    if content[6:11] == b"JFIF\0" and len(content) >= 18:
        return not _is_oblong(content[14:18] + content[13:14])
    return True


def _is_oblong(density: bytes) -> bool:
    """Return whether this is a shape of pixels, as FFmpeg writes it, and no resolution."""
    half, unit = len(density) // 2, density[-1]
    across, down = density[:half], density[half:-1]
    return unit == 0 and across != down and any(across) and any(down)


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the chunks before the picture itself."""
    place = 8
    while place + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        if kind == b"IDAT":
            return
        yield kind, content[place + 8 : place + 8 + length]
        place += 12 + length


def _by_ffmpeg(content: bytes, tone_mapped: bool) -> NDArray[np.uint8] | None:
    format_ = "ppm_pipe" if content[:2] in _PNM else None
    options = {"format_whitelist": _FORMATS}
    try:
        with av.open(io.BytesIO(content), format=format_, options=options) as container:
            stream = container.streams.video[0]
            if stream.disposition & Disposition.dependent:
                raise StillError("is a picture in tiles, which is not read")
            packet = next(packet for packet in container.demux(stream) if packet.size)
            frames = [*packet.decode(), *stream.codec_context.decode(None)]
            if not frames or frames[0].is_corrupt:
                return None
            refusal = None if tone_mapped else hdr_refusal(frames[0])
            if refusal is not None:
                raise StillError(refusal)
            pixel = stream.sample_aspect_ratio or Fraction(1)
            return Shown(pixel if can_be(pixel) else Fraction(1))(frames[0])
    except (av.FFmpegError, StopIteration, IndexError):
        return None
