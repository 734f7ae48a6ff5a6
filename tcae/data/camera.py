"""What a camera of this computer shows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import cv2
import numpy as np

from tcae.data.sources import Source
from tcae.data.video import VideoError, VideoFrame


@dataclass(frozen=True, eq=False)
class Camera(Source):
    """A camera, from now on. Times are those at which its pictures came.

    Attributes:
        number: Its number, as OpenCV counts them.
        seconds: How long to look at it; None: until `stopped`.
        stopped: Asked before each picture whether to end.
    """

    number: int = field(kw_only=True)
    seconds: float | None = field(default=None, kw_only=True)
    stopped: Callable[[], object] = field(default=lambda: False, kw_only=True)

    def read(self, fps: float | None = None, tone_mapped: bool = False) -> Iterator[VideoFrame]:
        """Yield its pictures, at most `fps` in a second.

        Raises:
            VideoError: It cannot be opened. After its last picture: it gives no more of them.
        """
        capture = _opened(self.number)
        try:
            begun, taken = None, 0
            for number in count():
                came, bgr = capture.read()
                now = time.monotonic()
                begun = now if begun is None else begun
                at = now - begun
                if self.stopped() or (self.seconds is not None and at >= self.seconds):
                    return
                if not came:
                    raise VideoError(f"{self.path}: gives no more pictures after {at:.1f} seconds")
                if fps is None or at >= taken / fps:
                    rgb = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
                    yield VideoFrame(number, at, rgb)
                    taken = taken + 1 if fps is None else int(at * fps) + 1
        finally:
            capture.release()

    def estimated_frames(self, fps: float | None = None) -> int | None:
        """Return None: who knows."""
        return None


def camera(
    number: int, seconds: float | None = None, stopped: Callable[[], object] = lambda: False
) -> Camera:
    """Make a source of a camera; see `Camera`."""
    name = f"camera {number}"
    return Camera(
        Path(name), name, name, name, "", True, number=number, seconds=seconds, stopped=stopped
    )


def _opened(number: int) -> cv2.VideoCapture:
    level = cv2.utils.logging.getLogLevel()
    # It would print what each of its back ends thinks of the number.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        capture = cv2.VideoCapture(number)
    finally:
        cv2.utils.logging.setLogLevel(level)
    if not capture.isOpened():
        raise VideoError(f"camera {number}: there is none, or another program uses it")
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the newest picture, not one that waited
    return capture
