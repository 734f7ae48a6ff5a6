"""Sources from whatever names or holds a video: paths, arrays, cameras, and lists of them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count, groupby
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np

from tcae.data.camera import camera
from tcae.data.frame_arrays import frame_arrays
from tcae.data.sources import Source, find_sources, gather_stills


def sources_of(
    given: Any,
    fps: float | None = None,
    seconds: float | None = None,
    stopped: Callable[[], object] = lambda: False,
) -> list[Source]:
    """Return the sources that were given.

    Args:
        given: A path; a picture (H, W, 3) or a video (N, H, W, 3) in memory, uint8 RGB; the number
            of a camera; or a list of these, in which pictures in memory that follow each other are
            the frames of one video.
        fps: Frames per second of arrays. None: their times are unknown.
        seconds: How long to look at a camera. None: until `stopped`.
        stopped: Asked before each picture of a camera whether to end.

    Raises:
        ValueError: It is something else, there is nothing at a path, or the list is empty.

    Example:
        >>> [video] = sources_of(np.zeros((5, 60, 80, 3), np.uint8), fps=25)
        >>> [frame.timestamp for frame in video.read()]
        [0.0, 0.04, 0.08, 0.12, 0.16]
    """
    alone = not isinstance(given, (list, tuple))
    items = [given] if alone else list(given)
    if not items:
        raise ValueError("source: an empty list, at least one video or picture is needed")
    sources: list[Source] = []
    names = map("array {}".format, count())
    for kind, run in groupby(items, _kind):
        if kind == "picture":
            sources.append(frame_arrays(next(names), list(run), fps, still=alone))
        elif kind == "video":
            sources += [frame_arrays(next(names), video, fps, still=False) for video in run]
        elif kind == "camera":
            sources += [camera(int(number), seconds, stopped) for number in run]
        else:
            sources += [source for path in run for source in find_sources(Path(path))]
    return gather_stills(sources)


def has_camera(given: Any) -> bool:
    """Return whether `sources_of` would make a camera of something that was given."""
    return "camera" in map(_kind, given if isinstance(given, (list, tuple)) else [given])


def _kind(item: Any) -> str:
    if isinstance(item, (str, Path)):
        return "path"
    if isinstance(item, Integral) and not isinstance(item, bool):
        return "camera"
    if hasattr(item, "__array__") or hasattr(item, "__array_interface__"):
        shape = np.shape(item)
        if len(shape) in (3, 4):
            return "picture" if len(shape) == 3 else "video"
        raise ValueError(
            f"source: an array of shape {shape} came, (H, W, 3) or (N, H, W, 3) is needed"
        )
    raise ValueError(
        f"source: {type(item).__name__} came; a path, an array, the number of a camera, or a list "
        "of these is needed"
    )
