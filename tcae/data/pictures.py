"""Encoding, decoding and resizing of pictures."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

JPEG_QUALITY = 95


def check_picture(picture: NDArray[Any]) -> None:
    """Refuse an array that is no picture.

    Raises:
        ValueError: It is not (H, W, 3) uint8, or it has no pixel.
    """
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or not picture.size:
        raise ValueError(
            f"picture: {picture.dtype} of shape {picture.shape} came, RGB (H, W, 3) in uint8 is "
            "needed"
        )


def encode_jpeg(rgb: NDArray[np.uint8]) -> bytes:
    """Return an RGB picture as JPEG, with full colour resolution."""
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    options = [
        cv2.IMWRITE_JPEG_QUALITY,
        JPEG_QUALITY,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]
    return cv2.imencode(".jpg", bgr, options)[1].tobytes()


def decode_image(blob: bytes) -> NDArray[np.uint8] | None:
    """Return an encoded picture as RGB (H, W, 3), None if it cannot be decoded or is animated."""
    if not blob or is_animated(blob):
        return None
    try:
        return cv2.imdecode(np.frombuffer(blob, np.uint8), cv2.IMREAD_COLOR_RGB)  # type: ignore[return-value]
    except cv2.error:  # as for a header that claims more pixels than OpenCV allows
        return None


def is_animated(blob: bytes) -> bool:
    """Return whether this is a WebP, PNG or AVIF of many pictures: OpenCV would read the first."""
    if blob[:4] == b"RIFF" and blob[12:16] == b"VP8X":
        return len(blob) > 20 and bool(blob[20] & 2)
    if blob[:4] == b"\x89PNG":
        return b"acTL" in blob[: max(blob.find(b"IDAT"), 0)]
    return blob[4:12] == b"ftypavis"


def resize(picture: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Return a square (S, S, 3) picture in another size: averaged if smaller, else bilinear."""
    if picture.shape[0] == size:
        return picture
    method = cv2.INTER_AREA if picture.shape[0] > size else cv2.INTER_LINEAR
    return cv2.resize(picture, (size, size), interpolation=method)  # type: ignore[return-value]


def centre(picture: NDArray[np.uint8], share: float, size: int) -> NDArray[np.uint8]:
    """Return the centre of a square picture, `share` of its side, resized to (size, size, 3)."""
    side = max(round(share * picture.shape[0]), 1)
    start = (picture.shape[0] - side) // 2
    return resize(picture[start : start + side, start : start + side], size)
