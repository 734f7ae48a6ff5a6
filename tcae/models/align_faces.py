"""Aligned faces of a picture in memory: the function `tcae.align_faces`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tcae.data.align import DEFAULT_TEMPLATE, AlignmentTemplate, align
from tcae.data.detectors import make_detector
from tcae.data.faces import Detector
from tcae.data.pictures import centre, check_picture
from tcae.data.turned_faces import UprightDetector
from tcae.models.face_encoder import FaceEncoder


class AlignedFaces(NamedTuple):
    """The N faces of a picture, the largest first.

    Attributes:
        rgb: (N, S, S, 3) uint8, cut out and turned upright.
        boxes: (N, 4) left, top, right, bottom in pixels of the picture.
        points: (N, 5, 2) x, y of left eye, right eye, nose, left and right corner of the mouth;
            left is left in the picture, and 0 is the centre of the first pixel.
        confidence: (N,) of the detector, in [0, 1].
    """

    rgb: NDArray[np.uint8]
    boxes: NDArray[np.float64]
    points: NDArray[np.float64]
    confidence: NDArray[np.float64]


def align_faces(
    picture: NDArray[np.uint8],
    encoder: FaceEncoder | None = None,
    *,
    size: int = 256,
    detector: Detector | None = None,
) -> AlignedFaces:
    """Find the faces in a picture and cut them out, aligned.

    Args:
        picture: (H, W, 3) uint8 RGB.
        encoder: Cut them out as this encoder needs them, in its size and by its template.
        size: Without an encoder: side S of the faces in pixels. Their template is that of the
            weights that ship.
        detector: Finds the faces. None: a new one. Give one to many calls to save time.

    Raises:
        ValueError: The picture has another shape or type, or no detector is installed.

    Example:
        >>> import numpy as np
        >>> import tcae
        >>> faces = tcae.align_faces(np.full((240, 320, 3), 90, np.uint8))
        >>> faces.rgb.shape
        (0, 256, 256, 3)
    """
    picture = np.asarray(picture)
    check_picture(picture)
    if size < 1:
        raise ValueError(f"size must be at least 1, not {size}")
    template, share = DEFAULT_TEMPLATE, 1.0
    if encoder is not None:
        template, share = AlignmentTemplate.from_dict(encoder.template), encoder.crop
        size = encoder.image_size
    found = UprightDetector(make_detector() if detector is None else detector)(picture)
    found.sort(key=lambda face: -float(np.prod(face.box[2:] - face.box[:2])))
    faces = [
        centre(align(picture, face.points, template, round(size / share)), share, size)
        for face in found
    ]
    return AlignedFaces(
        np.array(faces, np.uint8).reshape(-1, size, size, 3),
        _array([face.box for face in found], 4),
        _array([face.points for face in found], 5, 2),
        _array([face.confidence for face in found]),
    )


def _array(values: list[Any], *shape: int) -> NDArray[np.float64]:
    return np.array(values, np.float64).reshape(-1, *shape)
