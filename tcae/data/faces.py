"""A detected face, and the interface of a detector."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class Face(NamedTuple):
    """One detected face.

    Attributes:
        box: (4,) left, top, right, bottom in pixels.
        points: (5, 2) eyes, nose, corners of the mouth, as `tcae.data.align.POINT_NAMES`.
        confidence: In [0, 1].
    """

    box: NDArray[np.floating[Any]]
    points: NDArray[np.floating[Any]]
    confidence: float

    @property
    def area(self) -> float:
        """Return the area of the box in pixels."""
        return float(np.prod(self.box[2:] - self.box[:2]))


class Detector(Protocol):
    """Finds faces in a picture."""

    def __call__(self, rgb: NDArray[np.uint8]) -> list[Face]:
        """Return the faces in an (H, W, 3) uint8 picture, the most confident first."""
        ...
