from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tcae.data.stills import StillError
from tcae.live.uploads import open_upload


def encoded(rgb: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "png", **options)
    return file.getvalue()


def claim(width: int, height: int) -> bytes:
    """A PNG whose header claims a size, and which holds next to nothing."""
    chunks = {
        b"IHDR": struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0),
        b"IDAT": b"",
        b"IEND": b"",
    }
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks.items()
    )


def test_a_picture_comes_as_it_is() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    assert np.array_equal(open_upload(encoded(rgb)), rgb)


def test_a_large_picture_is_made_smaller() -> None:
    rgb = np.zeros((600, 3200, 3), np.uint8)
    rgb[:, 1600:] = 200
    opened = open_upload(encoded(rgb))
    assert opened.shape == (240, 1280, 3)
    assert (opened[:, :639] == 0).all() and (opened[:, 641:] == 200).all()


def test_a_thin_picture_keeps_a_pixel() -> None:
    assert open_upload(encoded(np.zeros((1, 4000, 3), np.uint8))).shape == (1, 1280, 3)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\0\0\0\x18ftypheix\0\0\0\0", "is a HEIC picture, a kind that is not read"),
        (b"not a picture at all", "cannot be read as a picture"),
        (encoded(np.zeros((64, 64, 3), np.uint8))[:60], "cannot be read as a picture"),
        (claim(10_000, 10_000), "has more than 89 million pixels"),
        (claim(60_000, 60_000), "has more than 89 million pixels"),
    ],
)
def test_what_is_no_picture_is_refused_in_a_line(content: bytes, words: str) -> None:
    with pytest.raises(StillError, match=words) as error:
        open_upload(content)
    assert "\n" not in str(error.value)
