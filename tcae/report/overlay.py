"""Faces marked on a picture, and their action units as bars beside it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tcae.data.action_units import in_words
from tcae.report.face_table import FaceTable
from tcae.report.lettering import Colour, text_width, write

Picture = NDArray[np.uint8]
Floats = NDArray[np.float64]

FACE_COLOURS: tuple[Colour, ...] = ((88, 166, 255), (255, 159, 67), (64, 201, 150), (240, 130, 190))
"""Of the faces that have bars, in their order. Others are grey."""

_LOWEST, _HIGHEST = 480, 1080
_GREY = (190, 190, 190)
_PAPER, _TRACK = (20, 23, 28), (44, 49, 57)
_INK, _DIM = (232, 235, 240), (140, 148, 160)


class MarkedFace(NamedTuple):
    """What is drawn of a face.

    Attributes:
        face: Its number.
        box: (4,) left, top, width and height in pixels of the picture, NaN if not known.
        points: (5, 2) in the same pixels, NaN if not known.
        shares: (U,) of the units, from 0 to 1, NaN if not known.
        present: (U,) whether each is on.
    """

    face: int
    box: Floats
    points: Floats
    shares: Floats
    present: NDArray[np.bool_]


class Marks:
    """What is drawn of the rows of a table.

    Args:
        table: The table.
    """

    def __init__(self, table: FaceTable) -> None:
        self._faces = table.columns["face_id"]
        self._boxes, self._points = table.boxes, table.points
        self._shares = np.stack([table.values(unit) for unit in table.units], 1) / table.full
        self._present = np.stack([table.present(unit) for unit in table.units], 1)

    def of(self, row: int) -> MarkedFace:
        """Return what is drawn of a row."""
        face, box, points = int(self._faces[row]), self._boxes[row], self._points[row]
        return MarkedFace(face, box, points, self._shares[row], self._present[row])


class Overlay:
    """Draws on the pictures of a video, which are all of one size.

    Small pictures are enlarged and large ones made smaller, so that the letters can be read and
    the file stays small.

    Args:
        size: Height and width of the pictures in pixels.
        units: Names of the action units.
        faces: The faces that have bars, at most as many as `FACE_COLOURS`.

    Attributes:
        shape: (height, width) of what is drawn; both are even, as videos need it.
        picture_width: The picture's part of that width.
    """

    def __init__(self, size: tuple[int, int], units: Sequence[str], faces: Sequence[int]) -> None:
        self._units, self._faces = units, list(faces)[: len(FACE_COLOURS)]
        height, width = size
        shown = min(max(height, _LOWEST), _HIGHEST)
        self._scale = shown / height
        self._size = round(width * self._scale), shown
        self._row = min(shown / (len(units) + 2.6), shown / 16)
        self._letter = max(round(self._row * 0.78), 6)
        self.picture_width = self._size[0]
        panel = self._bars_left + len(self._faces) * self._bar_step + round(self._row * 0.4)
        self.shape = shown + shown % 2, self.picture_width + panel
        self.shape = self.shape[0], self.shape[1] + self.shape[1] % 2

    def draw(self, picture: Picture, faces: Sequence[MarkedFace]) -> Picture:
        """Return a picture (H, W, 3) with its faces marked, of the overlay's shape."""
        canvas = self._blank.copy()
        method = cv2.INTER_CUBIC if self._scale > 1 else cv2.INTER_AREA
        shown: Any = cv2.resize(picture, self._size, interpolation=method)
        for face in faces:
            self._mark(shown, face)
        canvas[: shown.shape[0], : shown.shape[1]] = shown
        for face in faces:
            if face.face in self._faces:
                self._bars(canvas, face)
        return canvas

    @property
    def _bars_left(self) -> int:
        """Where bars begin, from the left of the panel."""
        words = max(text_width(in_words(unit), self._letter) for unit in self._units)
        return round(self._row * 0.7) + self._number_width + words + round(self._row * 0.7)

    @property
    def _number_width(self) -> int:
        return max(text_width(f"{u} ", self._letter) for u in self._units) + round(self._row * 0.2)

    @property
    def _bar_step(self) -> int:
        return round(self._row * (7 if len(self._faces) == 1 else 5))

    @cached_property
    def _blank(self) -> Picture:
        """The panel without bars."""
        canvas = np.full((*self.shape, 3), _PAPER, np.uint8)
        left = self.picture_width + round(self._row * 0.7)
        for i, unit in enumerate(self._units):
            at = self._middle(i)
            write(canvas, unit, (left, at), self._letter, _DIM)
            words = left + self._number_width, at
            write(canvas, in_words(unit), words, self._letter, _INK)
        for k, face in enumerate(self._faces):
            bars = self.picture_width + self._bars_left + k * self._bar_step
            middle = round(self._row * 1.1)
            write(canvas, f"face {face}", (bars, middle), self._letter, FACE_COLOURS[k])
            for i in range(len(self._units)):
                self._bar(canvas, k, i, 1.0, _TRACK)
        return canvas

    def _middle(self, unit: int) -> int:
        return round(self._row * (unit + 2.3))

    def _bar(self, canvas: Picture, k: int, unit: int, share: float, colour: Colour) -> None:
        left = self.picture_width + self._bars_left + k * self._bar_step
        length = (self._bar_step - round(self._row * 0.6)) * share
        middle, half = self._middle(unit), max(round(self._row * 0.27), 1)
        canvas[middle - half : middle + half, left : left + round(length)] = colour

    def _bars(self, canvas: Picture, face: MarkedFace) -> None:
        k = self._faces.index(face.face)
        for i, share in enumerate(face.shares):
            if np.isnan(share):
                continue
            bright = np.array(FACE_COLOURS[k])
            dull = bright * 0.45 + np.array(_TRACK) * 0.55
            r, g, b = (bright if face.present[i] else dull).astype(int).tolist()
            self._bar(canvas, k, i, float(np.clip(share, 0, 1)), (r, g, b))

    def _mark(self, shown: Picture, face: MarkedFace) -> None:
        """Mark a face by the corners of its box, its five points and its number."""
        k = self._faces.index(face.face) if face.face in self._faces else -1
        colour = FACE_COLOURS[k] if k >= 0 else _GREY
        thick = max(round(self._size[1] / 320), 1)
        for point in face.points[~np.isnan(face.points).any(1)]:
            x, y = _pixel(point * self._scale)
            cv2.circle(shown, (x, y), thick * 2 + 1, (0, 0, 0), -1, cv2.LINE_AA)
            cv2.circle(shown, (x, y), thick * 2, colour, -1, cv2.LINE_AA)
        if np.isnan(face.box).any():
            return
        left, top = _pixel(face.box[:2] * self._scale)
        right, bottom = _pixel((face.box[:2] + face.box[2:]) * self._scale)
        arm = max((right - left) // 6, 2)
        for x, y, dx, dy in ((left, top, 1, 1), (right, top, -1, 1), (left, bottom, 1, -1),
                             (right, bottom, -1, -1)):  # fmt: skip
            corner = np.array([[x, y + dy * arm], [x, y], [x + dx * arm, y]])
            cv2.polylines(shown, [corner], False, (0, 0, 0), thick + 2, cv2.LINE_AA)
            cv2.polylines(shown, [corner], False, colour, thick, cv2.LINE_AA)
        self._tag(shown, f"face {face.face}", (left, top), colour)

    def _tag(self, shown: Picture, text: str, at: tuple[int, int], colour: Colour) -> None:
        """Write the number of a face above its box, or inside if there is no room above."""
        size = max(round(self._size[1] / 30), 12)
        high, wide = round(size * 1.3), text_width(text, size) + size
        x = min(max(at[0], 0), max(shown.shape[1] - wide, 0))
        y = at[1] - high - size // 3
        y = y if y >= 0 else max(at[1] + size // 3, 0)
        shown[y : y + high, x : x + wide] = colour
        write(shown, text, (x + size // 2, y + high // 2), size, (10, 12, 15))


def _pixel(place: Floats) -> tuple[int, int]:
    x, y = np.clip(place, -1e6, 1e6).round().astype(int).tolist()
    return x, y
