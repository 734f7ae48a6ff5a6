"""The face of one person in a picture or a video, moment by moment."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tcae.data.detectors import make_detector
from tcae.data.face_tracks import Tracker
from tcae.data.faces import Face
from tcae.data.sources import find_sources, is_picture
from tcae.data.turned_faces import UprightDetector
from tcae.data.video import VideoError, VideoFrame
from tcae.editing.editor import FaceEditor, Portrait

log = logging.getLogger(__name__)

_EQUAL = 1e-3  # seconds; containers round times


class Moment(NamedTuple):
    """A picture of a file, and the face in it if there is one.

    Attributes:
        time: Seconds from the first picture.
        picture: (H, W, 3) uint8 RGB.
        face: The face of the person that the file shows.
    """

    time: float
    picture: NDArray[np.uint8]
    face: Portrait | None


class Portraits:
    """What a picture or a video shows of a person: the one with the largest face where it begins.

    Args:
        editor: Reads the faces.
        path: The file.

    Attributes:
        still: Whether it is a picture. It never ends.
        now: The present moment.
        face: The face that was seen last.
        failed: Whether a video ended early because it is damaged. A warning says so.

    Raises:
        ValueError: The file cannot be read, or is a picture without a face. The error names it.
    """

    def __init__(self, editor: FaceEditor, path: Path) -> None:
        if path.is_dir():
            raise ValueError(f"{path}: is a folder, a picture or a video is needed")
        self._editor, self._path = editor, path
        self.still, self.failed = is_picture(path.name), False
        self._moments = self._read()
        self.face: Portrait | None = None
        self.now = next(self._moments)
        self._next = None if self.still else next(self._moments, None)
        self._see()

    def to(self, time: float) -> bool:
        """Go on to what is shown at a time, and return whether the video has not ended by then."""
        if self.still:
            return True
        while self._next is not None and self._next.time <= time + _EQUAL:
            self.step()
        return self._next is not None or self.now.time >= time - _EQUAL

    def step(self) -> bool:
        """Go on to the next picture, and return whether there is one."""
        if self._next is None:
            return False
        self.now, self._next = self._next, next(self._moments, None)
        self._see()
        return True

    def _see(self) -> None:
        self.face = self.now.face or self.face

    def _read(self) -> Iterator[Moment]:
        find, person = UprightDetector(make_detector()), _Person()
        read = 0
        try:
            for frame in find_sources(self._path)[0].read():
                face = person.found(frame, find(frame.rgb))
                if face is None and self.still:
                    raise ValueError(f"{self._path}: no face was found in it")
                read += 1
                portrait = face and self._editor.portrait(frame.rgb, face.points)
                yield Moment(frame.timestamp, frame.rgb, portrait)
        except VideoError as error:
            if not read:
                raise
            self.failed = True
            log.warning("%s", error)


class _Person:
    """Follows the person whose face is the largest where the first faces are seen."""

    def __init__(self) -> None:
        self._tracker = Tracker()
        self._number: int | None = None

    def found(self, frame: VideoFrame, faces: list[Face]) -> Face | None:
        numbers = self._tracker.update(frame.rgb, frame.timestamp, faces)
        if self._number is None and faces:
            self._number = max(zip(faces, numbers, strict=True), key=lambda pair: pair[0].area)[1]
        return next((f for f, n in zip(faces, numbers, strict=True) if n == self._number), None)
