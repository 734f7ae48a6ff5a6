"""What is done to the logits of a video before they become values: neutral face and smoothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tcae.evaluation.calibration import Calibration, Floats
from tcae.evaluation.metrics import Array
from tcae.evaluation.neutral import Neutral, levelled
from tcae.evaluation.smoothing import smooth


@dataclass
class Refinement:
    """Corrects the logits of each face in a video.

    Attributes:
        neutral: Where neutral faces are found. None: levels stay as they are.
        calibration: That of the probe; it is needed for a neutral face.
        seconds: Width of the window that smooths over time. 0: no smoothing.
        faces: How many faces it has seen so far.
        levelled: The neutral face of how many of them was known.
    """

    neutral: Neutral | None
    calibration: Calibration | None
    seconds: float = 0.0
    faces: int = 0
    levelled: int = 0

    def __call__(self, logits: Floats, times: Array, face_ids: NDArray[np.int64]) -> Array:
        """Return the logits (N, A) of one video, corrected face by face.

        Args:
            logits: (N, A) of all faces in all frames.
            times: (N,) in seconds, ascending for each face; NaN if not known.
            face_ids: (N,) whose they are.
        """
        refined = np.array(logits, np.float64)
        for face in np.unique(face_ids):
            rows = np.flatnonzero(face_ids == face)
            refined[rows] = self._face(refined[rows], times[rows])
        return refined

    def _face(self, logits: Array, times: Array) -> Array:
        self.faces += 1
        if self.neutral is not None and self.calibration is not None:
            found = self.neutral.of(logits, times, self.calibration)
            if found is not None:
                self.levelled += 1
                logits = levelled(logits, found, self.calibration)
        if self.seconds and np.isfinite(times).all():
            logits = smooth(logits, times, self.seconds)
        return logits
