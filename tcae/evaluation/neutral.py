"""Neutral faces: what people differ in at rest is taken off their action units.

Faces at rest differ: one has low brows, another a long chin, and a probe takes that for action. A
person's neutral face tells how much. Where the person's logits lie at rest, and where those of
other people do (`Calibration.rest`), all logits of the person are moved by most of the difference.
Logits are an affine function of the embedding, so moving the embedding would do the same.
Time courses stay as they are, and levels become comparable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tcae.evaluation.calibration import Calibration, Floats
from tcae.evaluation.metrics import Array

SHARE = 0.75
"""How much of the difference is taken off; the rest of it is error (docs/weights.md)."""

FEWEST = 20
"""An automatic neutral face needs so many frames of the person."""

_CALMEST = 0.1  # of a person's frames are taken for neutral


@dataclass(frozen=True)
class Neutral:
    """Which frames show a person's neutral face.

    Attributes:
        frames: "auto": the tenth of the person's frames that shows the least action, that is, in
            which the probabilities have the smallest sum. Or from and to which second of the video.
        logits: (A,) of a picture or video of the neutral face. It counts in place of `frames`.
    """

    frames: Literal["auto"] | tuple[float, float] = "auto"
    logits: Array | None = None

    @property
    def title(self) -> str:
        """Return in a few words which frames these are."""
        if self.logits is not None:
            return "the given one"
        if self.frames == "auto":
            return "the calmest tenth of its frames"
        return "{:g} to {:g} s".format(*self.frames)

    def of(self, logits: Floats, times: Array, calibration: Calibration) -> Array | None:
        """Return the logits (A,) of the neutral face of one person, None if it is not known.

        Args:
            logits: (N, A) of the person in one video.
            times: (N,) in seconds, NaN if not known.
            calibration: That of the probe.
        """
        if self.logits is not None:
            return self.logits
        if self.frames == "auto":
            if len(logits) < FEWEST:
                return None
            action = calibration.probabilities(logits).sum(1)
            shown = np.argsort(action, kind="stable")[: max(round(_CALMEST * len(logits)), 1)]
        else:
            first, last = self.frames
            shown = np.flatnonzero((first <= times) & (times <= last))
        return np.asarray(logits[shown].mean(0, dtype=np.float64)) if len(shown) else None


def levelled(logits: Floats, neutral: Array, calibration: Calibration) -> Array:
    """Return a person's logits (N, A) as if the neutral face were that of most people.

    Args:
        logits: (N, A) of the person.
        neutral: (A,) of the person's neutral face.
        calibration: That of the probe.

    Example:
        >>> one = np.ones(1)
        >>> calibration = Calibration(np.ones((2, 1)), one, one, rest=-2 * one)
        >>> levelled(np.array([[-1.0], [3.0]]), np.array([-1.0]), calibration).ravel()
        array([-1.75,  2.25])
    """
    return np.asarray(logits - SHARE * (neutral - calibration.rest))
