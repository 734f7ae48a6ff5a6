"""Faces that lie on their side or stand on their head in the picture itself."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tcae.data.align import half_turn
from tcae.data.faces import Detector, Face

# Degrees of roll: a face rolled by less is upright in a turn that is tried, in the turn of the
# video so far, and at all.
_UPRIGHT, _TILTED, _LYING = 30.0, 45.0, 60.0
_SURE = 0.95  # a picture is turned to where nothing else was found only for such confidence
_CHECKS, _EVERY = 4, 8  # how many pictures are checked at first, and then which share
_SEARCHED = 16  # of so many pictures without a face one is tried in all turns
_KEPT = 0.7  # share of the evidence that the next check leaves
_STAYS = 1.0  # evidence, as a logit of confidence, that speaks for going on as before
_PATCH, _MARGIN = 96, 2.0  # side of the patch that is checked, in pixels and in sides of the face


class UprightDetector:
    """Finds the faces in the pictures of one video also where these are turned by quarters.

    A detector of upright faces finds some that stand on their head too, with eyes where the mouth
    is. So the surest face is looked at in all four turns: in the first pictures, now and then
    later, and where its points lie askew. The turn of the surest look, summed over such checks,
    is that of the video from there on. Where nothing is found the whole picture is tried in the
    other turns, soon only now and then. Faces that still lie on their side are left out.

    Boxes and points are those of the picture as it came. The points keep their names: a face cut
    out by them is upright, and its left eye is on the left there.

    Args:
        detector: Finds upright faces.
    """

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._turn = 0  # quarters by which a picture is turned, against the clock
        self._evidence = np.zeros(4)
        self._checked = self._since = self._faceless = 0

    def __call__(self, rgb: NDArray[np.uint8]) -> list[Face]:
        """Return the faces in an (H, W, 3) uint8 picture, the most confident first."""
        faces = self._found(rgb, self._turn)
        if not faces:
            return self._search(rgb)
        self._faceless = 0
        self._since += 1
        if self._is_due(faces[0]):
            turn = self._check(rgb, faces[0])
            if turn != self._turn:
                faces = self._turn_to(turn, rgb) or faces
        return [face for face in faces if self._roll(face, self._turn) < _LYING]

    def state_dict(self) -> dict[str, Any]:
        """Return what was learnt from the pictures so far, as JSON can hold it."""
        counts = {"checked": self._checked, "since": self._since, "faceless": self._faceless}
        return {"turn": self._turn, "evidence": self._evidence.tolist(), **counts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after the pictures that `state_dict` came from."""
        self._turn, self._evidence = state["turn"], np.array(state["evidence"], float)
        self._checked, self._since = state["checked"], state["since"]
        self._faceless = state["faceless"]

    def _found(self, rgb: NDArray[np.uint8], turn: int) -> list[Face]:
        """Return the faces that are upright once the picture is turned, in the picture as it is."""
        faces = self._detector(np.ascontiguousarray(np.rot90(rgb, turn)))
        return [_turned_back(face, turn, rgb.shape[:2]) for face in faces]

    def _is_due(self, face: Face) -> bool:
        soon = self._checked < _CHECKS or self._since >= _EVERY
        return soon or self._roll(face, self._turn) > _TILTED

    def _check(self, rgb: NDArray[np.uint8], face: Face) -> int:
        """Look at a face in all turns and return the likeliest one."""
        self._checked, self._since = self._checked + 1, 0
        patch = _patch(rgb, face.box)
        looks = [self._confidence(patch, turn) for turn in range(4)]
        self._evidence = _KEPT * self._evidence + looks
        favoured = self._evidence.copy()
        favoured[self._turn] += _STAYS
        return int(favoured.argmax())

    def _confidence(self, patch: NDArray[np.uint8], turn: int) -> float:
        """Return the logit of how sure the detector is of an upright face; 0 if it finds none."""
        most = _TILTED if turn == self._turn else _UPRIGHT
        found = self._found(patch, turn)
        sure = [face.confidence for face in found if self._roll(face, turn) < most]
        confidence = min(max(sure, default=0.5), 0.999)
        return float(np.log(confidence / (1 - confidence)))

    def _turn_to(self, turn: int, rgb: NDArray[np.uint8]) -> list[Face]:
        """Return the upright faces in another turn. If there are some, stay with it."""
        faces = [f for f in self._found(rgb, turn) if self._roll(f, turn) < _UPRIGHT]
        if faces:
            self._turn = turn
        else:
            self._evidence = np.zeros(4)
        return faces

    def _search(self, rgb: NDArray[np.uint8]) -> list[Face]:
        """Return the faces in the turn in which there are some, if any, and stay with that turn."""
        self._faceless += 1
        if self._faceless not in (1, 2, 4, 8) and self._faceless % _SEARCHED:
            return []
        for turn in ((self._turn + k) % 4 for k in (2, 1, 3)):
            faces = [f for f in self._found(rgb, turn) if self._roll(f, turn) < _UPRIGHT]
            if faces and faces[0].confidence >= _SURE:
                evidence, self._evidence = self._evidence, np.zeros(4)
                if self._check(rgb, faces[0]) == turn:
                    self._turn, self._faceless = turn, 0
                    return faces
                self._evidence = evidence
        return []

    @staticmethod
    def _roll(face: Face, turn: int) -> float:
        """Return by how many degrees a face is rolled in the turned picture."""
        left_eye, right_eye, _, left_mouth, right_mouth = face.points
        across, down = right_eye - left_eye, (left_mouth + right_mouth - left_eye - right_eye) / 2
        angles = np.degrees([np.arctan2(across[1], across[0]), np.arctan2(-down[0], down[1])])
        away = half_turn(angles - 90 * turn)
        return float(np.abs(away).max()) if across.any() or down.any() else 0.0


def _turned_back(face: Face, turn: int, shape: tuple[int, ...]) -> Face:
    """Return a face of the turned picture as one of the picture of that shape (height, width)."""
    if not turn:
        return face
    # A box counts from the edge of the first pixel, points from its centre.
    corners = _places_back(np.stack([face.box[:2], face.box[2:]]) - 0.5, turn, shape) + 0.5
    box = np.concatenate([corners.min(0), corners.max(0)])
    return Face(box, _places_back(face.points, turn, shape), face.confidence)


def _places_back(
    places: NDArray[np.floating[Any]], turn: int, shape: tuple[int, ...]
) -> NDArray[np.floating[Any]]:
    height, width = shape
    x, y = places[:, 0], places[:, 1]
    turned = ((x, y), (width - 1 - y, x), (width - 1 - x, height - 1 - y), (y, height - 1 - x))
    return np.stack(turned[turn], 1)


def _patch(rgb: NDArray[np.uint8], box: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Return the square around a face, at a size at which it is quickly looked at."""
    centre, side = (box[:2] + box[2:]) / 2, max(float((box[2:] - box[:2]).max()) * _MARGIN, 1.0)
    low, high = np.floor(centre - side / 2).astype(int), np.ceil(centre + side / 2).astype(int)
    low, high = np.maximum(low, 0), np.maximum(np.minimum(high, rgb.shape[1::-1]), low + 1)
    part = rgb[low[1] : high[1], low[0] : high[0]]
    scale = _PATCH / side
    size = np.maximum(np.round(np.array(part.shape[1::-1]) * scale), 1).astype(int).tolist()
    return cv2.resize(part, size, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]
