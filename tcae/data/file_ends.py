"""Whether a video file ends where its format says that it ends, or was cut off."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import BinaryIO, NamedTuple


class Last(NamedTuple):
    """What the demuxer found.

    Attributes:
        size: Bytes of the first packet of the video.
        end: Where the last packet of any stream ends in the file.
    """

    size: int
    end: int


def is_cut_off(path: str, kind: str, last: Last) -> bool:
    """Return whether the end of a file is missing.

    FFmpeg drops the rest of a packet without an error. A file that was cut exactly between two
    packets shows it only where the format has a mark of its end.

    Args:
        path: The file.
        kind: Its format as FFmpeg names it.
        last: What it holds according to FFmpeg.
    """
    check = _CHECKS.get(kind.partition(",")[0])
    if check is None:
        return False
    with open(path, "rb") as file:
        return check(file, os.fstat(file.fileno()).st_size, last)


def _mp4(file: BinaryIO, size: int, _: Last) -> bool:
    """ISO 14496-12, 4.2: boxes, one after the other."""
    place = 0
    while place + 8 <= size:
        head = _at(file, place, 16)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:], "big")
        if length < 8 or not kind.isalnum():  # to the end of the file, or no box
            return False
        place += length
    return place > size or any(_at(file, place, 8))


_SEGMENT, _CLUSTER = 0x18538067, 0x1F43B675


def _matroska(file: BinaryIO, size: int, _: Last) -> bool:
    """RFC 8794: elements. What is written while it is sent has segments of unknown lengths."""
    place = 0
    while place < size:
        head = _at(file, place, 12)
        digits = 9 - head[0].bit_length()
        more = 9 - head[digits].bit_length() if digits <= 4 and len(head) > digits else 9
        if more > 8:  # no element, or the file ends in its head
            return digits <= 4 and len(head) <= digits
        field = head[digits : digits + more]
        name = int.from_bytes(head[:digits], "big")
        length = int.from_bytes(field, "big") & ((1 << 7 * more) - 1)
        place += digits + more
        if length == (1 << 7 * more) - 1:
            if name not in (_SEGMENT, _CLUSTER):
                return False
        elif name == _SEGMENT:
            return len(field) < more or place + length > size
        else:
            place += length
    return place > size


_SYNC, _RUN = 0x47, 8


def _mpegts(file: BinaryIO, size: int, _: Last) -> bool:
    """ISO 13818-1, 2.4.3.2: packets of one length, each with a byte that begins it."""
    for length, before in ((188, 0), (192, 4), (204, 0)):  # on discs a time comes before it
        tail = _at(file, max(size - length * _RUN, 0), length * _RUN)
        for place in range(before, min(length + before, len(tail))):
            if set(tail[place::length]) == {_SYNC} and len(tail) >= 2 * length:
                return (len(tail) - place + before) % length != 0
    return False


_PACK = b"\0\0\1\xba"
_SOME_PACKS = 2**18


def _mpegps(file: BinaryIO, size: int, _: Last) -> bool:
    """ISO 13818-1, 2.5.3: packs and packets, which tell their lengths."""
    tail = _at(file, max(size - _SOME_PACKS, 0), _SOME_PACKS)
    place = tail.find(_PACK)
    while 0 <= place < len(tail) and tail[place : place + 3] == _PACK[:3]:
        head = tail[place : place + 14].ljust(14, b"\0")
        if head[3] == 0xBA:
            place += 14 + (head[13] & 7) if head[4] >> 6 == 1 else 12  # MPEG-1 has shorter ones
        elif head[3] == 0xB9:
            place += 4
        else:
            place += 6 + int.from_bytes(head[4:6], "big")
    return place > len(tail)


def _ivf(file: BinaryIO, size: int, _: Last) -> bool:
    """Frames after their sizes and times."""
    place = 32
    while place + 12 <= size:
        place += 12 + int.from_bytes(_at(file, place, 4), "little")
    return place > size or any(_at(file, place, 12))


_LONGEST_PAGE = 65307


def _ogg(file: BinaryIO, size: int, _: Last) -> bool:
    """RFC 3533, 6: the last page of a stream is marked."""
    tail = _at(file, max(size - _LONGEST_PAGE, 0), _LONGEST_PAGE)
    page = tail[max(tail.rfind(b"OggS"), 0) :]
    if page[:4] != b"OggS":
        return False
    table = page[27 : 27 + page[26]] if len(page) > 26 else b""
    return not page[5:6] or not page[5] & 4 or len(page) < 27 + len(table) + sum(table)


_ASF_FILE = bytes.fromhex("A1DCAB8C47A9CF118EE400C00C205365")


def _asf(file: BinaryIO, size: int, _: Last) -> bool:
    """Advanced Systems Format, 3.2: the header tells the file's size, 0 if it was not known."""
    head = _at(file, 0, 65536)
    place = head.find(_ASF_FILE) + 40
    return place >= 40 and int.from_bytes(head[place : place + 8], "little") > size


def _gif(file: BinaryIO, size: int, _: Last) -> bool:
    """GIF89a, 27: the trailer."""
    return not _ending(file, size).endswith(b";")


def _jpegs(file: BinaryIO, size: int, _: Last) -> bool:
    """ITU-T T.81, B.1.1.3: the end of an image."""
    return not _ending(file, size).endswith(b"\xff\xd9")


def _apng(file: BinaryIO, size: int, _: Last) -> bool:
    """PNG, 11.2.5: the last chunk."""
    return not _ending(file, size).endswith(b"IEND\xaeB`\x82")


def _y4m(_: BinaryIO, size: int, last: Last) -> bool:
    return last.end < size


def _dv(_: BinaryIO, size: int, last: Last) -> bool:
    return last.size > 0 and size % last.size != 0  # all frames have one size


_CHECKS: dict[str, Callable[[BinaryIO, int, Last], bool]] = {
    "mov": _mp4,
    "matroska": _matroska,
    "mpegts": _mpegts,
    "mpeg": _mpegps,
    "ivf": _ivf,
    "ogg": _ogg,
    "asf": _asf,
    "gif": _gif,
    "apng": _apng,
    "mjpeg": _jpegs,
    "jpeg_pipe": _jpegs,
    "yuv4mpegpipe": _y4m,
    "dv": _dv,
}


def _at(file: BinaryIO, place: int, length: int) -> bytes:
    file.seek(place)
    return file.read(length)


def _ending(file: BinaryIO, size: int) -> bytes:
    """Return the last bytes, without those of padding."""
    return _at(file, max(size - 4096, 0), 4096).rstrip(b"\0")
