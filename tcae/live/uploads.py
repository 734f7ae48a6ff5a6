"""Pictures as a page sends them: checked, read, and made small enough to be edited at once."""

from __future__ import annotations

import io
import warnings

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tcae.data.stills import StillError, read_still

MOST_BYTES = 64_000_000
"""Of a file."""
LARGEST_SIDE = 1280
"""Pixels; of a larger picture a smaller copy is used."""

_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx")


def open_upload(content: bytes) -> NDArray[np.uint8]:
    """Return the picture that a file holds.

    Args:
        content: Of the file. HDR is read in ordinary colours.

    Returns:
        (H, W, 3) RGB, no side of it above `LARGEST_SIDE`.

    Raises:
        StillError: It is none, is damaged or has too many pixels. The message says so without a
            name.
    """
    if not content:
        raise StillError("is empty")
    if content[4:8] == b"ftyp" and content[8:12] in _HEIC:
        raise StillError("is a HEIC picture, a kind that is not read; save it as a JPEG")
    _check_pixels(content)
    rgb = read_still(content, tone_mapped=True)
    height, width = rgb.shape[:2]
    scale = LARGEST_SIDE / max(height, width)
    if scale >= 1:
        return rgb
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def _check_pixels(content: bytes) -> None:
    """Refuse a picture by what its header claims, before memory is taken for it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            Image.open(io.BytesIO(content)).close()
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        most = Image.MAX_IMAGE_PIXELS or 0
        raise StillError(
            f"has more than {most / 1e6:.0f} million pixels; make it smaller"
        ) from None
    except (OSError, ValueError):  # unknown to Pillow; whoever reads it knows better
        return
