"""The pose of the head in degrees, read out of the pose embedding, and in OpenFace's angles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from tcae.data.align import AlignmentTemplate, half_turn, similarity, turn_of
from tcae.data.crops import Crop
from tcae.evaluation.metrics import Array
from tcae.evaluation.ridge import Ridge
from tcae.evaluation.table import Column
from tcae.files.weight_file import read_weights, write_weights
from tcae.models.encoder_file import beside_encoder

HEAD_POSE_FILE = "head_pose.safetensors"
"""Name of a head pose reader beside the encoder that it belongs to."""
HEAD_POSE_COLUMNS = tuple(
    Column(name, "real") for name in ("pose_Rx", "pose_Ry", "pose_Rz", "pitch", "yaw", "roll")
)

_FORMAT = "tcae-head-pose"


class HeadPose(NamedTuple):
    """Reads the pose of a head out of the pose embedding of its aligned face.

    Attributes:
        ridge: From the pose embedding (N, D) to yaw, pitch and roll (N, 3) in the aligned picture,
            in degrees.
        encoder: Fingerprint of the encoder.
    """

    ridge: Ridge
    encoder: str

    def degrees(self, embeddings: NDArray[np.floating], turns: NDArray[np.floating]) -> Array:
        """Return yaw, pitch and roll (N, 3) in the picture, in degrees.

        A positive yaw turns the nose to the right of the picture, a positive pitch lowers it, a
        positive roll is clockwise in the picture.

        Args:
            embeddings: (N, D) pose embeddings.
            turns: (N,) from `turns_of`; they are taken back.
        """
        found = self.ridge(embeddings)
        found[:, 2] = half_turn(found[:, 2] - turns)
        return found


def turns_of(crops: Sequence[Crop], template: AlignmentTemplate) -> Array:
    """Return by how many degrees alignment turned pictures, clockwise: (N,).

    A face whose points are not known was not turned.
    """
    return np.array([_turn(crop.face.points, template) for crop in crops])


def _turn(points: NDArray[np.floating], template: AlignmentTemplate) -> float:
    if not np.isfinite(points).all():
        return 0.0
    return turn_of(similarity(points, template.pixels(1)))


def openface_angles(degrees: NDArray[np.floating]) -> Array:
    """Return OpenFace's pose_Rx, pose_Ry and pose_Rz (N, 3) in radians.

    OpenFace turns the head by R = Rx Ry Rz in coordinates x to the right, y down, z away from the
    camera: pose_Rx > 0 lowers the nose, pose_Ry > 0 turns it to the left of the picture, pose_Rz >
    0 is clockwise in the picture. Here the head turns by yaw first, then pitch, then roll, so that
    the three angles differ from ours by more than signs if several are large.

    Args:
        degrees: (N, 3) yaw, pitch and roll as `HeadPose.degrees` gives them.
    """
    yaw, pitch, roll = np.radians(degrees.astype(np.float64)).T
    matrix = _about("z", roll) @ _about("x", pitch) @ _about("y", -yaw)
    x = np.arctan2(-matrix[:, 1, 2], matrix[:, 2, 2])
    y = np.arcsin(np.clip(matrix[:, 0, 2], -1, 1))
    z = np.arctan2(-matrix[:, 0, 1], matrix[:, 0, 0])
    return np.stack([x, y, z], 1)


def _about(axis: str, angles: Array) -> Array:
    """Return the matrices (N, 3, 3) that turn about an axis, right-handed."""
    first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrices = np.tile(np.eye(3), (len(angles), 1, 1))
    matrices[:, first, first] = matrices[:, second, second] = np.cos(angles)
    matrices[:, second, first] = np.sin(angles)
    matrices[:, first, second] = -np.sin(angles)
    return matrices


def save_head_pose(path: Path, head_pose: HeadPose) -> None:
    """Write it to a safetensors file, whole or not at all."""
    weights = {k: torch.from_numpy(v) for k, v in head_pose.ridge._asdict().items()}
    write_weights(path, {"format": _FORMAT, "encoder": head_pose.encoder}, weights)


def load_head_pose(path: Path) -> HeadPose:
    """Read it.

    Raises:
        ValueError: The file is damaged or of another kind.
    """
    description, weights = read_weights(path, _FORMAT)
    arrays = {name: tensor.numpy() for name, tensor in weights.items()}
    return HeadPose(Ridge(**arrays), description["encoder"])


def find_head_pose(encoder: Path | str) -> HeadPose | None:
    """Return what lies beside an encoder's file, None if nothing does.

    Args:
        encoder: A run directory, an encoder's file, or the name of weights that ship.

    Raises:
        ValueError: As for `load_head_pose`.
    """
    path = beside_encoder(encoder, HEAD_POSE_FILE)
    return None if path is None else load_head_pose(path)
