"""Ways to make a face hard to see: small, blurred, dark, noisy, covered, or partly out of view."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]


def small(rgb: Picture, hard: float, random: np.random.Generator) -> Picture:
    """Return the picture at a fraction of its size."""
    side = round(len(rgb) * 0.6 * 0.25**hard)
    return _picture(cv2.resize(rgb, (side, side), interpolation=cv2.INTER_AREA))


def blurred(rgb: Picture, hard: float, random: np.random.Generator) -> Picture:
    """Return the picture out of focus."""
    return _picture(cv2.GaussianBlur(rgb, (0, 0), 0.5 + 4 * hard))


def dark(rgb: Picture, hard: float, random: np.random.Generator) -> Picture:
    """Return the picture with little light, and the noise that comes of it."""
    noise = random.normal(0, 1 + 3 * hard, rgb.shape)
    return _picture(rgb * 0.5 * 0.15**hard + noise)


def noisy(rgb: Picture, hard: float, random: np.random.Generator) -> Picture:
    """Return the picture with noise, and compressed."""
    noise = random.normal(0, 5 + 25 * hard, rgb.shape)
    options = [cv2.IMWRITE_JPEG_QUALITY, round(50 - 40 * hard)]
    _, content = cv2.imencode(".jpg", _picture(rgb + noise), options)
    return _picture(cv2.imdecode(content, cv2.IMREAD_UNCHANGED))


def covered(rgb: Picture, hard: float, random: np.random.Generator) -> Picture:
    """Return the picture with something before the middle of it, where the face is."""
    covering, side = rgb.copy(), len(rgb)
    size = side * (0.03 + 0.12 * hard) * random.uniform(0.7, 1.4, 2)
    at = side * random.uniform(0.35, 0.65, 2)
    colour = random.integers(0, 256, 3).tolist()
    axes = (round(size[0]), round(size[1]))
    cv2.ellipse(covering, (round(at[0]), round(at[1])), axes, random.uniform(0, 180), 0, 360,
                colour, -1)  # fmt: skip
    return covering


def cut(rgb: Picture, hard: float, random: np.random.Generator) -> Picture:
    """Return a part of the picture that ends within the face."""
    edge, turn = round(len(rgb) * (0.25 + 0.15 * hard)), int(random.integers(4))
    return np.ascontiguousarray(np.rot90(np.rot90(rgb, turn)[edge:], -turn))


WAYS: dict[str, Callable[[Picture, float, np.random.Generator], Picture]] = {
    way.__name__: way for way in (small, blurred, dark, noisy, covered, cut)
}


def _picture(values: Any) -> Picture:
    result: Picture = np.clip(np.round(values), 0, 255).astype(np.uint8)
    return result
