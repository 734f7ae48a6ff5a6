"""Letters on pictures, smooth and in any size."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import ImageFont

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]


def text_width(text: str, size: int) -> int:
    """Return the width in pixels of a text in letters of this size."""
    return _letters(text, size).shape[1]


def write(picture: Picture, text: str, at: tuple[int, int], size: int, colour: Colour) -> None:
    """Write a text on a picture. What lies outside is cut off.

    Args:
        picture: (H, W, 3) uint8 RGB.
        text: A line.
        at: Left end and middle of the line in pixels.
        size: Height of the letters with all their lengths, in pixels.
        colour: RGB.
    """
    letters = _letters(text, size)
    left, top = at[0], at[1] - letters.shape[0] // 2
    x, y = max(left, 0), max(top, 0)
    inside = picture[y : max(top + letters.shape[0], 0), x : max(left + letters.shape[1], 0)]
    share = letters[y - top :, x - left :][: inside.shape[0], : inside.shape[1], None]
    inside[:] = (inside + (np.array(colour) - inside) * share).round().astype(np.uint8)


@lru_cache(maxsize=1024)
def _letters(text: str, size: int) -> NDArray[np.float32]:
    """Return how much (h, w), from 0 to 1, each pixel of a line is covered."""
    font = ImageFont.load_default(size)
    ascent, descent = font.getmetrics()  # type: ignore[union-attr]
    width = max(int(np.ceil(font.getlength(text))), 1)
    mask, (left, top) = font.getmask2(text, "L")  # type: ignore[union-attr]
    covered = np.asarray(mask, np.float32).reshape(mask.size[::-1]) / 255
    line = np.zeros((ascent + descent, width + abs(left)), np.float32)
    inside = line[top : top + covered.shape[0], max(left, 0) : max(left, 0) + covered.shape[1]]
    inside[:] = covered[: inside.shape[0], : inside.shape[1]]
    return line
