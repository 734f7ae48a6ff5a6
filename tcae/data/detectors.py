"""Face detectors by name."""

from __future__ import annotations

from tcae.data.faces import Detector
from tcae.data.mtcnn import Mtcnn

DETECTORS = ("mtcnn",)


def make_detector(name: str = "mtcnn") -> Detector:
    """Return the detector of a name, one of `DETECTORS`.

    Raises:
        ValueError: Unknown name, or the extra that brings the detector's weights is not installed.
    """
    if name not in DETECTORS:
        raise ValueError(f"detector must be one of {', '.join(DETECTORS)}, not {name!r}")
    return Mtcnn()
