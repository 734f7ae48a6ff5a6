"""What the page of `tcae demo` is told: what pictures show, and pictures with another face."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcae.data.align import DEFAULT_TEMPLATE
from tcae.data.pictures import encode_jpeg
from tcae.editing.editor import FaceEditor, Portrait
from tcae.evaluation.metrics import Array
from tcae.live.reader import WEIGHTS, PictureReader, ReadFace, ReadPicture
from tcae.live.uploads import MOST_BYTES, open_upload
from tcae.report.live_page import live_page
from tcae.report.page import data_address

EDITOR = "synthetic-64"
"""Weights that edit the faces."""

_KEPT = 8  # pictures, those seen last; a page edits one of them


class NotKept(LookupError):
    """A picture is not kept any more, or there is no such face in it."""


@dataclass
class _Kept:
    """A picture that may be edited.

    Attributes:
        rgb: (H, W, 3) uint8.
        faces: The faces in it.
        portraits: Those that the page has asked for, by number.
    """

    rgb: NDArray[np.uint8]
    faces: Sequence[ReadFace]
    portraits: dict[int, Portrait] = field(default_factory=dict)


class Answers:
    """Answers the questions of the page, one at a time, whichever threads they come from.

    Raises:
        ValueError: The face detector is not installed.
    """

    def __init__(self) -> None:
        self._read, self._edit = PictureReader(), FaceEditor.load(EDITOR)
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._lock = threading.Lock()
        self._warm_up()

    @property
    def page(self) -> str:
        """Return the page."""
        doubts = {unit: self._edit.weaknesses([unit]) for unit in self._edit.units}
        return live_page(self._read.units, doubts, WEIGHTS, EDITOR, MOST_BYTES)

    @property
    def units(self) -> tuple[str, ...]:
        """Return the names of the action units that are read."""
        return self._read.units

    def frame(self, content: bytes, neutral: Array | None = None) -> dict[str, Any]:
        """Return what a picture of a camera or a video shows.

        Args:
            content: The picture as a file.
            neutral: (A,) logits of the neutral face of whoever it shows.

        Raises:
            ValueError: It cannot be read.
        """
        with self._lock:
            rgb = open_upload(content)
            return _told(rgb, self._read(rgb, neutral))

    def picture(self, content: bytes, neutral: Array | None = None) -> dict[str, Any]:
        """Return what a picture shows, the picture itself and the key it is kept under."""
        with self._lock:
            rgb = open_upload(content)
            read = self._read(rgb, neutral)
            key = secrets.token_urlsafe(8)
            self._kept[key] = _Kept(rgb, read.faces)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        address = data_address(encode_jpeg(rgb), "image/jpeg")
        return {**_told(rgb, read), "key": key, "picture": address}

    def face(self, key: str, number: int) -> dict[str, Any]:
        """Return the action units and the pose of a face as the editor reads them.

        Args:
            key: Of its picture.
            number: Of the face in it.

        Raises:
            NotKept: The picture is not kept any more, or has no such face.
        """
        with self._lock:
            portrait = self._portrait(key, number)
        return {"aus": portrait.aus, "pose": portrait.pose}

    def edited(
        self, key: str, number: int, aus: Mapping[str, float], pose: Sequence[float] | None
    ) -> bytes:
        """Return a picture with another face as JPEG.

        Args:
            key: Of the picture.
            number: Of the face in it.
            aus: Intensities from 0 to 1 for some action units.
            pose: Pitch, yaw and roll in degrees. None: as they are.

        Raises:
            NotKept: See `face`.
            ValueError: A unit or a value is wrong.
        """
        with self._lock:
            return encode_jpeg(self._edit(self._portrait(key, number), aus, pose))

    def _portrait(self, key: str, number: int) -> Portrait:
        if key not in self._kept:
            raise NotKept("this picture is not kept any more; open it again")
        kept = self._kept[key]
        self._kept.move_to_end(key)
        if not 0 <= number < len(kept.faces):
            raise NotKept(f"face {number}: the picture has {len(kept.faces)} faces")
        if number not in kept.portraits:
            points = kept.faces[number].face.points
            kept.portraits[number] = self._edit.portrait(kept.rgb, points)
        return kept.portraits[number]

    def _warm_up(self) -> None:
        """Read and edit a grey picture: compilers take seconds, and nobody is waiting yet."""
        grey = np.full((96, 96, 3), 128, np.uint8)
        self._read(grey)
        face = self._edit.portrait(grey, DEFAULT_TEMPLATE.pixels(96))
        self._edit(face, {self._edit.units[0]: 1.0}, (0, 10, 0))


def _told(rgb: NDArray[np.uint8], read: ReadPicture) -> dict[str, Any]:
    """Return what was read of a picture, as JSON can hold it."""
    height, width = rgb.shape[:2]
    faces = [
        {
            "box": [left, top, right - left, bottom - top],
            "points": face.face.points.tolist(),
            "confidence": face.confidence,
            "pose": face.pose,
            "logits": face.logits.tolist(),
            "present": face.present,
            "probabilities": face.probabilities,
        }
        for face in read.faces
        for left, top, right, bottom in [face.face.box.tolist()]
    ]
    return {"width": width, "height": height, "faces": faces, "remarks": read.remarks}
