"""The numbers of frames in label files and in names of pictures: an off-by-one trap.

Label files count a video's frames from 1, some from 0. Frames of a video file are counted from 0,
extracted pictures from 0 or from 1, depending on the program that extracted them. Only the files
themselves show it, and they must not contradict each other.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

log = logging.getLogger(__name__)

_HOW = "--frame-offset, a picture's number minus its label's, can say it"


class Numbers(NamedTuple):
    """The numbers of a video's labels, and of its pictures (None for a video file)."""

    labels: NDArray[np.int64]
    pictures: NDArray[np.int64] | None


def frame_offsets(videos: Mapping[str, Numbers], given: int | None) -> dict[str, int]:
    """Return, for each video, the number of a frame minus the number of its label.

    Labels from 0 or 1 on begin with the video's first frame. A picture 0 shows that pictures count
    from 0. A picture that would then lie behind the last label shows that they count from 1. If
    there is neither (because faces were not found, for example) the video counts like the others,
    if these agree. Labels from a later frame on belong to pictures of the same numbers, if both
    begin with the same number.

    Args:
        videos: The numbers of each video.
        given: The offset that the user gave, for videos whose numbers do not show it.

    Raises:
        ValueError: Numbers contradict each other or `given`, or do not show the offset.
    """
    found = {name: _evident(name, numbers, given) for name, numbers in videos.items()}
    silent = [name for name, offset in found.items() if offset is None]
    if silent and given is None:
        base = _base_of_the_others(videos, found, silent)
        found.update({name: base - int(videos[name].labels[0]) for name in silent})
    return {name: given or 0 if offset is None else offset for name, offset in found.items()}


def _base_of_the_others(
    videos: Mapping[str, Numbers], found: Mapping[str, int | None], silent: Sequence[str]
) -> int:
    """Return the number of the first picture, 0 or 1, that the other videos show."""
    bases = {
        offset + int(videos[name].labels[0])
        for name, offset in found.items()
        if offset is not None and videos[name].pictures is not None
    }
    if len(bases) != 1:
        say = "contradict each other" if bases else "do not tell"
        raise ValueError(
            f"{_found(silent[0], videos[silent[0]])}: no sign whether the pictures count from 0 or "
            f"from 1, and those of the other videos {say}; {_HOW}"
        )
    (base,) = bases
    log.warning(
        "%d videos, as %s, have neither a picture 0 nor one of the last label; their pictures are "
        "taken to count from %d, as those of the others do",
        *(len(silent), silent[0], base),
    )
    return base


def _evident(name: str, numbers: Numbers, given: int | None) -> int | None:
    """Return the offset that a video's own numbers show, None if they show none."""
    first = int(numbers.labels[0])
    if given not in (None, -first, 1 - first):
        return None  # the labels begin elsewhere in the video, as the user says
    if first not in (0, 1):
        return given if given is not None else _of_equal_numbers(name, numbers)
    signs = _signs(numbers)
    if len(signs) == 2 and given is None:
        raise ValueError(
            f"{_found(name, numbers)}: counted from 0 the last picture has no label, counted from "
            f"1 the first has none; {_HOW}"
        )
    if len(signs) != 1:
        return None
    if given not in (None, *signs):
        raise ValueError(
            f"{_found(name, numbers)}: their offset is {min(signs)}, not {given} (--frame-offset)"
        )
    return min(signs)


def _signs(numbers: Numbers) -> set[int]:
    """Return the offsets that have a sign, if the first label belongs to the first frame."""
    first, last = int(numbers.labels[0]), int(numbers.labels[-1])
    if numbers.pictures is None:
        return {-first}
    signs = {-first} if numbers.pictures.min() == 0 else set()
    return signs | ({1 - first} if numbers.pictures.max() > last - first else set())


def _of_equal_numbers(name: str, numbers: Numbers) -> int:
    """Return 0 if labels that begin later in a video begin with the same number as its pictures."""
    if numbers.pictures is None or numbers.pictures.min() != numbers.labels[0]:
        raise ValueError(
            f"{_found(name, numbers)}: the labels begin neither with 0 nor with 1, so it is not "
            f"known which picture the first belongs to; {_HOW}"
        )
    return 0


def _found(name: str, numbers: Numbers) -> str:
    labels, pictures = numbers
    there = f"{name}: labels {labels[0]} to {labels[-1]}"
    if pictures is None:
        return f"{there} for the frames of a video file, which count from 0"
    return f"{there}, {len(pictures)} pictures {pictures.min()} to {pictures.max()}"
