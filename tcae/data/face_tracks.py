"""Tracks of one face through a video, and who comes back."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tcae.data.face_looks import Look, agreement, look_of
from tcae.data.faces import Face

# The correlation of neighbouring pictures' thumbnails tells how much is the same in them.
_CUT_CORRELATION = 0.35  # below is a cut
_CHANGE_CORRELATION = 0.85  # below is a cut too if the face at the same place is another one
_THUMBNAIL = (32, 24)
_BRIDGED_SECONDS, _BRIDGED_PICTURES = 0.5, 2  # how long a face may stay away

# Agreement of looks. Of other people's faces at most .64 was measured, see docs/data.md.
_OTHER = 0.6  # below is another face, where the picture has changed too
_SAME = 0.7  # from here on it is somebody seen before
_CLEARLY = 0.03  # by so much more than anybody else
_NOVEL = 0.85  # below is a look worth remembering
_LOOKS, _PEOPLE = 24, 64  # remembered at most: of a person, in a video


@dataclass
class _Track:
    number: int
    box: NDArray[np.floating[Any]]
    time: float
    picture: int = field(default=0)


class Tracker:
    """Gives each face a track number, so that a person keeps it from picture to picture.

    Faces are matched by overlap, or by nearness and size. A face may be missing for two pictures or
    half a second. Later, or after a camera cut, a face gets the number of a person seen before if
    its looks agree clearly with theirs and nobody else's, and a new one otherwise. It works at 1
    picture a second as well as at 25, and what it keeps does not grow with the video.

    Example:
        >>> tracker = Tracker()
        >>> for frame in read_frames("talk.mp4"):  # doctest: +SKIP
        ...     numbers = tracker.update(frame.rgb, frame.timestamp, detector(frame.rgb))
    """

    def __init__(self) -> None:
        self._tracks: list[_Track] = []
        self._people: dict[int, list[Look]] = {}  # by number, those seen last at the end
        self._thumbnail: NDArray[np.float32] | None = None
        self._pictures = 0
        self._next = 0

    def update(self, rgb: NDArray[np.uint8], timestamp: float, faces: list[Face]) -> list[int]:
        """Return the track numbers of the faces of the next picture.

        Args:
            rgb: The picture.
            timestamp: Its time in seconds.
            faces: The faces in it.

        Returns:
            One number for each face, counted from 0. No two faces of a picture have the same.
        """
        self._pictures += 1
        same = self._correlation(rgb)
        if same < _CUT_CORRELATION:
            self._tracks = []
        self._tracks = [track for track in self._tracks if self._alive(track, timestamp)]
        looks = [look_of(rgb, face.points) for face in faces]
        numbers: dict[int, int] = {}
        for i, track in _matches(faces, self._tracks):
            if same >= _CHANGE_CORRELATION or self._may_be(track.number, looks[i]):
                numbers[i] = track.number
            else:  # somebody else is there now
                self._tracks.remove(track)
        self._recognise(looks, numbers)
        for i, face in enumerate(faces):
            if i not in numbers:
                numbers[i], self._next = self._next, self._next + 1
            self._remember(numbers[i], looks[i])
            self._follow(_Track(numbers[i], face.box, timestamp, self._pictures))
        return [numbers[i] for i in range(len(faces))]

    def state_dict(self) -> dict[str, Any]:
        """Return what is known of the pictures so far, as JSON can hold it."""
        tracks = [
            [t.number, np.asarray(t.box, float).tolist(), t.time, t.picture] for t in self._tracks
        ]
        people = [[number, list(map(_text, looks))] for number, looks in self._people.items()]
        return {
            "tracks": tracks,
            "people": people,
            "thumbnail": None if self._thumbnail is None else _text(self._thumbnail),
            "pictures": self._pictures,
            "next": self._next,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after the pictures that `state_dict` came from."""
        self._tracks = [
            _Track(number, np.array(box), time, picture)
            for number, box, time, picture in state["tracks"]
        ]
        self._people = {
            number: [np.frombuffer(base64.b64decode(look), np.int8) for look in looks]
            for number, looks in state["people"]
        }
        self._thumbnail = None
        if state["thumbnail"] is not None:
            pixels = np.frombuffer(base64.b64decode(state["thumbnail"]), np.float32)
            self._thumbnail = pixels.reshape(*_THUMBNAIL[::-1], 3)
        self._pictures, self._next = state["pictures"], state["next"]

    def _alive(self, track: _Track, timestamp: float) -> bool:
        away = self._pictures - track.picture - 1
        return away <= _BRIDGED_PICTURES or timestamp - track.time <= _BRIDGED_SECONDS

    def _correlation(self, rgb: NDArray[np.uint8]) -> float:
        """Return how far the picture is like the one before; 1 if either has one colour only."""
        small = cv2.resize(rgb, _THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32)
        small -= small.mean()
        before, self._thumbnail = self._thumbnail, small
        if before is None:
            return 1.0
        energy = float(np.sqrt((small**2).sum() * (before**2).sum()))
        return float((small * before).sum()) / energy if energy else 1.0

    def _may_be(self, number: int, look: Look | None) -> bool:
        known = self._people.get(number)
        return known is None or look is None or agreement(known, look) >= _OTHER

    def _recognise(self, looks: list[Look | None], numbers: dict[int, int]) -> None:
        """Give faces without a number those of people seen before whom they clearly look like."""
        there = set(numbers.values())
        people = {n: known for n, known in self._people.items() if n not in there}
        scores = {
            i: sorted(((agreement(known, look), n) for n, known in people.items()), reverse=True)
            for i, look in enumerate(looks)
            if i not in numbers and look is not None and people
        }
        clear = [
            (found[0], i)
            for i, found in scores.items()
            if found[0][0] >= max(_SAME, found[1][0] + _CLEARLY if len(found) > 1 else 0)
        ]
        for (_, number), i in sorted(clear, reverse=True):
            if number not in there:
                numbers[i] = number
                there.add(number)

    def _remember(self, number: int, look: Look | None) -> None:
        if look is None:
            return
        known = self._people.pop(number, [])
        if not known or agreement(known, look) < _NOVEL:
            known = [*known, look][-_LOOKS:]
        self._people[number] = known
        if len(self._people) > _PEOPLE:
            del self._people[next(iter(self._people))]

    def _follow(self, track: _Track) -> None:
        self._tracks = [t for t in self._tracks if t.number != track.number] + [track]


def _text(array: NDArray[Any]) -> str:
    return base64.b64encode(array.tobytes()).decode()


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
