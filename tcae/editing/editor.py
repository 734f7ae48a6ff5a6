"""Editing the face in a picture: its action units, and the pose of the head."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tcae.data.align import AlignmentTemplate, align, half_turn, similarity, turn_of
from tcae.data.detectors import make_detector
from tcae.data.faces import Detector, Face
from tcae.data.pictures import centre, check_picture
from tcae.data.turned_faces import UprightDetector
from tcae.editing.motions import Motions
from tcae.editing.placement import moved, turned
from tcae.editing.reading import POSE_FILE, Reading, load_pose_reading, probe_reading
from tcae.evaluation.linear_probe import LinearProbe, load_probe
from tcae.models.decoder_file import read_model_weights
from tcae.models.encoder import Embeddings, Encoder
from tcae.models.encoder_file import FrozenEncoder, load_encoder, load_weights
from tcae.models.twin_cycle import TwinCycle
from tcae.models.usual_motions import MOTIONS_FILE, load_motions
from tcae.weights import find_weights

Picture = NDArray[np.uint8]
"""A picture (H, W, 3), RGB."""

AGREEMENT_FILE = "edits.json"
"""Name of the file with the measured correlation of each action unit."""
GOAL = 0.4
"""Units whose edits correlate less with what was wanted are weak."""

_LEAST, _MOST = 0.02, 0.98  # what a probe reads at no and at full intensity; a logit has no end


class Portrait(NamedTuple):
    """A picture with a face that was found and read.

    Attributes:
        picture: (H, W, 3) uint8 RGB.
        matrix: (2, 3) similarity transform from its pixels to those of the aligned face.
        embeddings: Of the aligned face, one row each.
        aus: Intensities of the action units from 0 to 1, as the probe reads them.
        pose: Pitch, yaw and roll in degrees.
    """

    picture: Picture
    matrix: NDArray[np.float64]
    embeddings: Embeddings
    aus: dict[str, float]
    pose: tuple[float, float, float]


class FaceEditor:
    """Gives the face in a picture other action units, and another pose of the head.

    Args:
        encoder: Embeds the aligned face.
        probe: Reads action units from its AU embedding.
        pose: Reads pitch, yaw and roll of an aligned face, in degrees, from its pose embedding.
        motions: Makes the flows.
        agreement: How well edits of some action units were measured to work on real faces, as
            correlations.

    Raises:
        ValueError: The probe belongs to another encoder.

    Example:
        >>> editor = FaceEditor.load("synthetic-64")  # doctest: +SKIP
        >>> face = editor.portrait(picture)  # doctest: +SKIP
        >>> smiling = editor(face, aus={"AU12": 1.0})  # doctest: +SKIP
        >>> turned = editor(face, pose=(0, 15, 0))  # doctest: +SKIP
    """

    def __init__(
        self,
        encoder: FrozenEncoder,
        probe: LinearProbe,
        pose: Reading,
        motions: Motions,
        agreement: Mapping[str, float] | None = None,
    ) -> None:
        probe.check_encoder(encoder.fingerprint)
        self._encoder, self._motions, self._agreement = encoder, motions, agreement or {}
        self._units, self._pose = probe_reading(probe), pose
        self._template = AlignmentTemplate.from_dict(encoder.template)
        self._detector: Detector | None = None

    @classmethod
    def load(cls, weights: Path | str = "synthetic-64") -> FaceEditor:
        """Load what edits faces.

        Args:
            weights: The name of weights that ship with decoders, or a directory of such files.

        Raises:
            FileNotFoundError: A file is missing. The error names it.
            ValueError: A file is damaged or does not fit the others.
        """
        folder = find_weights(weights)
        encoder, probe = load_encoder(folder), load_probe(folder)
        model = TwinCycle(Encoder(encoder.network.config, encoder.image_size))
        load_weights(model, read_model_weights(folder), str(folder))
        usual = load_motions(folder / MOTIONS_FILE)
        motions = Motions(model.eval().requires_grad_(False), usual, probe_reading(probe))
        figures = folder / AGREEMENT_FILE
        agreement = json.loads(figures.read_bytes()) if figures.exists() else {}
        return cls(encoder, probe, load_pose_reading(folder / POSE_FILE), motions, agreement)

    @property
    def units(self) -> tuple[str, ...]:
        """Return the names of the action units that it knows."""
        return self._units.names

    def check(self, aus: Mapping[str, float]) -> None:
        """Refuse units that the editor does not know, and intensities beyond 0 and 1.

        Raises:
            ValueError: The error names the first one.
        """
        for unit, value in aus.items():
            if unit not in self.units:
                raise ValueError(f"{unit}: unknown unit; known are {', '.join(self.units)}")
            if not 0 <= value <= 1:
                raise ValueError(f"{unit}: an intensity is from 0 to 1, not {value}")

    def weaknesses(self, units: Iterable[str]) -> str:
        """Say in a line which of some action units edits do badly, or nobody knows how well.

        It is empty if there are none.
        """
        known = self._agreement
        weak = [f"{unit} (r = {known[unit]:.2f})" for unit in units if known.get(unit, 1) < GOAL]
        unknown = [unit for unit in units if unit not in known]
        parts = (("weak on real faces", weak), ("not measured on real faces", unknown))
        return "; ".join(f"{words}: {', '.join(found)}" for words, found in parts if found)

    def portrait(self, picture: Picture, points: NDArray[np.floating] | None = None) -> Portrait:
        """Find the largest face in a picture (H, W, 3) uint8 RGB, and read it.

        Args:
            picture: The picture.
            points: (5, 2) the face's points in pixels, as `tcae.data.align.POINT_NAMES`. None: a
                detector looks for them (extra [faces]).

        Raises:
            ValueError: The picture has another shape or type, or shows no face.
        """
        check_picture(picture)
        if points is None:
            points = self._found(picture).points
        side = round(self._encoder.image_size / self._encoder.crop)
        rgb = align(picture, points, self._template, side)
        size = self._encoder.image_size
        face = np.ascontiguousarray(centre(rgb, self._encoder.crop, size).transpose(2, 0, 1))
        image = torch.from_numpy(face)[None]
        embeddings = self._encoder.embed(image)
        matrix = _centred(
            similarity(points, self._template.pixels(side)), side, self._encoder.crop, size
        )
        aus = self._units(embeddings.au).sigmoid()[0].tolist()
        pitch, yaw, roll = self._pose(embeddings.pose)[0].tolist()
        roll = half_turn(roll - turn_of(matrix))
        return Portrait(
            picture,
            matrix,
            embeddings,
            dict(zip(self.units, aus, strict=True)),
            (pitch, yaw, roll),
        )

    def __call__(
        self,
        face: Picture | Portrait,
        aus: Mapping[str, float] | Portrait | None = None,
        pose: Sequence[float] | Portrait | None = None,
    ) -> Picture:
        """Return the picture with another face.

        Args:
            face: A picture, or what `portrait` made of it; that saves the search for the face.
            aus: Intensities from 0 to 1 for some action units, while the others stay. Or a portrait
                whose action units the face takes over, all of them.
            pose: Pitch, yaw and roll in degrees. Or a portrait whose pose the face takes over.

        Returns:
            The picture (H, W, 3) uint8. Pixels beyond the face are those of the picture.

        Raises:
            ValueError: See `portrait`. Or a unit is unknown, an intensity is not in [0, 1], or the
                pose is not three finite numbers, or turns the face out of sight.
        """
        if not isinstance(face, Portrait):
            face = self.portrait(face)
        return moved(face.picture, self.flow(face, aus, pose), face.matrix)

    def flow(
        self,
        face: Portrait,
        aus: Mapping[str, float] | Portrait | None = None,
        pose: Sequence[float] | Portrait | None = None,
    ) -> Tensor:
        """Return the backward flow (2, S, S) of an edit, in pixels of the aligned face.

        Arguments are those of `__call__`. The flow does not fade out yet.
        """
        au, head, roll = *face.embeddings, 0.0
        if isinstance(aus, Portrait):
            au = aus.embeddings.au
        elif aus:
            self.check(aus)
            au = self._units.moved(au, {unit: _logit(value) for unit, value in aus.items()})
        if isinstance(pose, Portrait):
            head, roll = pose.embeddings.pose, turn_of(face.matrix) - turn_of(pose.matrix)
        elif pose is not None:
            pitch, yaw, whole = _checked_pose(pose)
            head = self._pose.moved(head, {"pitch": pitch, "yaw": yaw})
            roll = whole - face.pose[2]
        flow = self._motions.flow(face.embeddings, Embeddings(au, head))
        return turned(flow, half_turn(roll))

    def _found(self, picture: Picture) -> Face:
        if self._detector is None:
            self._detector = make_detector()
        faces = UprightDetector(self._detector)(picture)
        if not faces:
            raise ValueError("no face was found in the picture")
        return max(faces, key=lambda face: face.area)


def _centred(
    matrix: NDArray[np.float64], side: int, share: float, size: int
) -> NDArray[np.float64]:
    """Return a matrix to an aligned picture as one to its centre, as `centre` cuts that out."""
    shown = round(share * side)
    scale, start = size / shown, (side - shown) // 2
    moved = scale * matrix
    moved[:, 2] += (0.5 - start) * scale - 0.5
    return moved


def _logit(value: float) -> float:
    """Return the logit that stands for an intensity."""
    share = _LEAST + (_MOST - _LEAST) * value
    return float(np.log(share / (1 - share)))


def _checked_pose(pose: Sequence[float]) -> tuple[float, float, float]:
    if len(pose) != 3 or not np.isfinite(pose).all():
        raise ValueError(f"pose: {pose} came, pitch, yaw and roll in degrees are needed")
    pitch, yaw, roll = pose
    if max(abs(pitch), abs(yaw)) > 90:
        raise ValueError(
            f"pose: pitch {pitch:g} and yaw {yaw:g} came, need -90 to 90 degrees; beyond, a face "
            "is not to be seen"
        )
    return pitch, yaw, roll
