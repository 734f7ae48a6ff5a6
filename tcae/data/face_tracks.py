"""Tracks of one face through a video."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tcae.data.faces import Face

_CUT_CORRELATION = 0.35  # thumbnails of neighbouring pictures that agree less lie around a cut
_THUMBNAIL = (32, 24)
_BRIDGED_SECONDS, _BRIDGED_PICTURES = 0.5, 2  # how long a face may stay away


@dataclass
class _Track:
    number: int
    box: NDArray[np.floating[Any]]
    time: float
    picture: int = field(default=0)


class Tracker:
    """Gives each face a track number, so that a person keeps it from picture to picture.

    Faces are matched by overlap, or by nearness and size. A face may be missing for two pictures or
    half a second. After a camera cut all numbers are new. It works at 1 picture a second as well as
    at 25, and keeps only what it needs to match the next picture.

    Example:
        >>> tracker = Tracker()
        >>> for frame in read_frames("talk.mp4"):  # doctest: +SKIP
        ...     numbers = tracker.update(frame.rgb, frame.timestamp, detector(frame.rgb))
    """

    def __init__(self) -> None:
        self._tracks: list[_Track] = []
        self._thumbnail: NDArray[Any] | None = None
        self._pictures = 0
        self._next = 0

    def update(self, rgb: NDArray[np.uint8], timestamp: float, faces: list[Face]) -> list[int]:
        """Return the track numbers of the faces of the next picture.

        Args:
            rgb: The picture. Only a thumbnail of it is used, to notice camera cuts.
            timestamp: Its time in seconds.
            faces: The faces in it.

        Returns:
            One number for each face, counted from 0. No two tracks have the same number.
        """
        self._pictures += 1
        if self._is_cut(rgb):
            self._tracks = []
        self._tracks = [track for track in self._tracks if self._alive(track, timestamp)]
        numbers = [-1] * len(faces)
        for i, track in _matches(faces, self._tracks):
            track.box, track.time, track.picture = faces[i].box, timestamp, self._pictures
            numbers[i] = track.number
        for i, face in enumerate(faces):
            if numbers[i] < 0:
                numbers[i] = self._next
                self._tracks.append(_Track(self._next, face.box, timestamp, self._pictures))
                self._next += 1
        return numbers

    def _alive(self, track: _Track, timestamp: float) -> bool:
        away = self._pictures - track.picture - 1
        return away <= _BRIDGED_PICTURES or timestamp - track.time <= _BRIDGED_SECONDS

    def _is_cut(self, rgb: NDArray[np.uint8]) -> bool:
        small = cv2.resize(rgb, _THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32)
        small -= small.mean()
        before, self._thumbnail = self._thumbnail, small
        if before is None:
            return False
        energy = float(np.sqrt((small**2).sum() * (before**2).sum()))
        return float((small * before).sum()) < _CUT_CORRELATION * energy


def _matches(faces: list[Face], tracks: list[_Track]) -> list[tuple[int, _Track]]:
    """Return pairs of face number and track, likeliest first. Each of both is in one pair."""
    scored = [(_likeness(f.box, t.box), i, t) for i, f in enumerate(faces) for t in tracks]
    scored.sort(key=lambda entry: -entry[0])
    matches: list[tuple[int, _Track]] = []
    seen_faces, seen_tracks = set(), set()
    for score, i, track in scored:
        if score > 0 and i not in seen_faces and track.number not in seen_tracks:
            matches.append((i, track))
            seen_faces.add(i)
            seen_tracks.add(track.number)
    return matches


def _likeness(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Return how likely two boxes in neighbouring pictures are one face; 0 if they cannot be.

    Boxes that overlap score 1 + their intersection over union. Others of like size score less, the
    less the farther apart: a head moves by at most its own size between two pictures.
    """
    size_a, size_b = np.maximum(a[2:] - a[:2], 1e-6), np.maximum(b[2:] - b[:2], 1e-6)
    side_a, side_b = float(np.sqrt(size_a.prod())), float(np.sqrt(size_b.prod()))
    if not 0.5 < side_a / side_b < 2:
        return 0.0
    overlap = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    union = float(size_a.prod() + size_b.prod() - overlap)
    if overlap / union > 0.2:
        return 1.0 + float(overlap) / union
    distance = float(np.hypot(*((a[:2] + a[2:] - b[:2] - b[2:]) / 2))) / min(side_a, side_b)
    return max(1.0 - distance, 0.0)
