"""How far the action units of a face can be trusted, told by how well the face can be seen.

Detectors are as sure of a turned, dark or covered face as of any other. So rendered faces were
looked at twice: as they are, and from the front in good light, doing the same. What the difference
of the outputs is to be expected, by a few plain quantities, is what confidence lacks to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from tcae.data.align import AlignmentTemplate, similarity
from tcae.data.crops import Crop
from tcae.data.faces import Face
from tcae.evaluation.metrics import Array
from tcae.files.weight_file import read_weights, write_weights
from tcae.models.encoder_file import beside_encoder

CONFIDENCE_FILE = "confidence.safetensors"
"""Name of the file beside the encoder that it belongs to."""
QUALITIES = ("turned", "nodding", "small", "blurred", "dark", "flat", "doubtful", "outside", "odd")
"""What is known of how well a face can be seen, in the order of `Confidence.qualities`."""

_FORMAT = "tcae-confidence"
_LARGE = 80.0  # pixels; a face that is larger in its picture is not seen better
_SUREST = 12.0  # log odds; surer a detector need not be


class Confidence(NamedTuple):
    """Tells from `qualities` how far the action units of a face can be trusted.

    Attributes:
        weights: (Q,) of the qualities.
        offset: ().
        mean: (D,) of both embeddings, one after the other, of rendered faces.
        whitening: (D, D) makes their differences from the mean uncorrelated, of variance 1.
        encoder: Fingerprint of the encoder.
    """

    weights: Array
    offset: Array
    mean: Array
    whitening: Array
    encoder: str

    def __call__(self, seen: Array) -> Array:
        """Return the confidence (N,) in [0, 1] of faces with `qualities` (N, Q)."""
        astray: Array = np.exp(seen @ self.weights + self.offset)
        return np.clip(1 - astray, 0, 1)

    def qualities(
        self,
        crops: Sequence[Crop],
        template: AlignmentTemplate,
        degrees: NDArray[np.floating],
        embeddings: NDArray[np.floating],
    ) -> Array:
        """Return how hard faces are to see, as numbers (N, Q) that are larger where it is harder.

        - turned, nodding: yaw and pitch in units of 30 degrees, squared.
        - small: how often the side of the face in its picture must be doubled for 80 pixels.
        - blurred: log of contrast over fine detail.
        - dark, flat: log of 1 over brightness and over contrast.
        - doubtful: log odds that it is no face, by the detector.
        - outside: share of the aligned face that lies outside the picture.
        - odd: log of the mean square of the embeddings, whitened.

        Args:
            crops: The faces as the encoder saw them.
            template: How they were aligned.
            degrees: (N, 3) yaw, pitch and roll of the heads.
            embeddings: (N, D) both embeddings, one after the other.
        """
        turned = (degrees[:, :2] / 30) ** 2
        seen = [
            (_small(crop, template), *_light(crop.rgb), _doubtful(crop.face), crop.outside)
            for crop in crops
        ]
        odd = (((embeddings - self.mean) @ self.whitening) ** 2).mean(1)
        return np.column_stack([turned, np.array(seen), np.log(np.maximum(odd, 1e-3))])


def _small(crop: Crop, template: AlignmentTemplate) -> float:
    if not np.isfinite(crop.face.points).all():  # it came aligned
        return 0.0
    matrix = similarity(crop.face.points, template.pixels(1))
    return max(float(np.log2(_LARGE * np.hypot(matrix[0, 0], matrix[1, 0]))), 0.0)


def _light(rgb: NDArray[np.uint8]) -> tuple[float, float, float]:
    """Return how blurred, how dark and how flat a face is."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    detail, contrast = float(cv2.Laplacian(grey, cv2.CV_32F).std()), float(grey.std())
    blurred, dark, flat = -np.log(
        [(detail + 1e-3) / (contrast + 1e-2), grey.mean() + 1e-2, contrast + 1e-2]
    )
    return float(blurred), float(dark), float(flat)


def _doubtful(face: Face) -> float:
    if np.isnan(face.confidence):  # nothing was detected
        return -_SUREST
    score = min(max(face.confidence, 1e-6), 1 - 1e-6)
    return max(-float(np.log(score / (1 - score))), -_SUREST)


def save_confidence(path: Path, confidence: Confidence) -> None:
    """Write it to a safetensors file, whole or not at all."""
    arrays = confidence._asdict()
    description = {"format": _FORMAT, "encoder": arrays.pop("encoder"), "of": list(QUALITIES)}
    write_weights(path, description, {k: torch.as_tensor(v) for k, v in arrays.items()})


def load_confidence(path: Path) -> Confidence:
    """Read it.

    Raises:
        ValueError: The file is damaged or of another kind.
    """
    description, weights = read_weights(path, _FORMAT)
    arrays = {name: tensor.numpy() for name, tensor in weights.items()}
    return Confidence(**arrays, encoder=description["encoder"])


def find_confidence(encoder: Path | str) -> Confidence | None:
    """Return what lies beside an encoder's file, None if nothing does.

    Args:
        encoder: A run directory, an encoder's file, or the name of weights that ship.

    Raises:
        ValueError: As for `load_confidence`.
    """
    path = beside_encoder(encoder, CONFIDENCE_FILE)
    return None if path is None else load_confidence(path)
