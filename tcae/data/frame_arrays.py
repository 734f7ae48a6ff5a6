"""Videos and pictures that are in memory already, as arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcae.data.sources import Picture, Source
from tcae.data.video import VideoFrame


@dataclass(frozen=True, eq=False)
class FrameArrays(Source):
    """Frames of one video, or a picture, in memory.

    Attributes:
        rgb: Pictures (H, W, 3) uint8 RGB.
        fps: Frames per second. None: their times are unknown.
    """

    rgb: Sequence[NDArray[np.uint8]] = field(kw_only=True)
    fps: float | None = field(default=None, kw_only=True)

    def read(self, fps: float | None = None, tone_mapped: bool = False) -> Iterator[VideoFrame]:
        """Yield all its frames; `fps` takes none away."""
        for number, rgb in enumerate(self.rgb):
            if self.is_file:
                yield VideoFrame(number, number / self.fps if self.fps else float("nan"), rgb)
            else:
                yield Picture(number, float("nan"), rgb, self.path)

    def estimated_frames(self, fps: float | None = None) -> int | None:
        """Return their number."""
        return len(self.rgb)


def frame_arrays(name: str, given: Sequence[Any], fps: float | None, still: bool) -> FrameArrays:
    """Make a source of arrays.

    Args:
        name: What to call it in tables and messages.
        given: Its frames, (H, W, 3) uint8 RGB, or one array (N, H, W, 3).
        fps: Frames per second. None: their times are unknown.
        still: Whether it is a picture of which every face counts.

    Raises:
        ValueError: They have another shape or type, or there is none.
    """
    frames = [np.asarray(frame) for frame in given]
    for rgb in frames:
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or 0 in rgb.shape:
            raise ValueError(
                f"{name}: {rgb.dtype} of shape {rgb.shape} came, pictures (H, W, 3) or frames "
                "(N, H, W, 3) are needed, RGB in uint8 from 0 to 255"
            )
    if not frames:
        raise ValueError(f"{name}: no frame in it")
    return FrameArrays(Path(name), name, name, name, "", not still, rgb=frames, fps=fps)
