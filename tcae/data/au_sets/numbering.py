"""How label files and pictures number the frames of one video: an off-by-one trap.

Label files count a video's frames from 1 (some from 0), a video file's frames are counted from 0,
and extracted pictures from 0 or from 1, as the program that extracted them does. Only what is there
can tell, and it must not contradict itself.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

log = logging.getLogger(__name__)

_HOW = "--frame-offset, a picture's number minus its label's, can say it"


class Numbers(NamedTuple):
    """Numbers of a video's labels and of its pictures, None for those of a video file."""

    labels: NDArray[np.int64]
    pictures: NDArray[np.int64] | None


def frame_offsets(videos: Mapping[str, Numbers], given: int | None) -> dict[str, int]:
    """For each video what to add to a label's number for the number of its frame.

    The labels must begin with the video's first frame. A picture 0 shows that pictures count from
    0; a picture that would lie behind the last label then, that they count from 1. Where neither
    is there (because faces were not found, say) the video is like the others, if they agree.

    Args:
        videos: The numbers, by video.
        given: The offset that the user gave, for those that do not tell.

    Raises:
        ValueError: Numbers contradict each other or `given`, or do not tell.
    """
    found = {name: _evident(name, numbers, given) for name, numbers in videos.items()}
    pictures = {name: numbers.pictures is not None for name, numbers in videos.items()}
    agreed = {offset for name, offset in found.items() if pictures[name] and offset is not None}
    silent = [name for name, offset in found.items() if offset is None]
    if silent and given is None:
        if len(agreed) != 1:
            say = "do not tell" if not agreed else "contradict each other"
            raise ValueError(
                f"{_found(silent[0], videos[silent[0]])}: no sign whether the pictures count from "
                f"0 or from 1, and those of the other videos {say}; {_HOW}"
            )
        (given,) = agreed
        log.warning(
            "%d videos, as %s, have neither a picture 0 nor one of the last label; their pictures "
            "are taken to be numbered as those of the others (offset %d)",
            *(len(silent), silent[0], given),
        )
    return {n: offset if offset is not None else given or 0 for n, offset in found.items()}


def _evident(name: str, numbers: Numbers, given: int | None) -> int | None:
    """The offset that a video's own numbers show; None if they show none."""
    first, last = int(numbers.labels[0]), int(numbers.labels[-1])
    if first not in (0, 1):
        if given is None:
            raise ValueError(
                f"{_found(name, numbers)}: the labels begin neither with 0 nor with 1, so it is "
                f"not known which picture the first belongs to; {_HOW}"
            )
        return None
    if given not in (None, -first, 1 - first):
        return None  # the labels begin elsewhere in the video, as the user says
    if numbers.pictures is None:
        signs = {-first}
    else:
        signs = {-first} if numbers.pictures.min() == 0 else set()
        if numbers.pictures.max() > last - first:
            signs.add(1 - first)
    if len(signs) == 1 and given not in (None, *signs):
        raise ValueError(
            f"{_found(name, numbers)}: their offset is {min(signs)}, not {given} (--frame-offset)"
        )
    if len(signs) == 2 and given is None:
        raise ValueError(
            f"{_found(name, numbers)}: counted from 0 the last picture has no label, counted from "
            f"1 the first has none; {_HOW}"
        )
    return min(signs) if len(signs) == 1 else None


def _found(name: str, numbers: Numbers) -> str:
    labels, pictures = numbers
    there = f"{name}: labels {labels[0]} to {labels[-1]}"
    if pictures is None:
        return f"{there} for the frames of a video file, which count from 0"
    return f"{there}, {len(pictures)} pictures {pictures.min()} to {pictures.max()}"
