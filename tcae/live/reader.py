"""The faces in single pictures, and what they do, as `tcae analyse` reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from tcae.data.any_source import sources_of
from tcae.data.crops import Cropper
from tcae.data.faces import Face
from tcae.evaluation.analyse import DETECTOR, make_extractor
from tcae.evaluation.extraction import SUCCESS
from tcae.evaluation.metrics import Array
from tcae.evaluation.neutral import Neutral
from tcae.evaluation.refinement import Refinement
from tcae.evaluation.remarks import Remarks
from tcae.evaluation.unit_columns import logit_columns, unit_values

WEIGHTS = "detector-64"
"""Weights that read the faces."""


class ReadFace(NamedTuple):
    """What is read of a face.

    Attributes:
        face: Where it is in the picture.
        confidence: How far the action units can be trusted, from 0 to 1.
        pose: Pitch, yaw and roll in degrees.
        logits: (A,) of the action units, before a neutral face is taken off.
        present: (A,) whether each is on.
        probabilities: (A,) that each is on.
    """

    face: Face
    confidence: float
    pose: tuple[float, float, float]
    logits: Array
    present: Sequence[bool]
    probabilities: Sequence[float]


class ReadPicture(NamedTuple):
    """What is read of a picture.

    Attributes:
        faces: From the largest one on.
        remarks: What is odd about it, a line each.
    """

    faces: list[ReadFace]
    remarks: list[str]


class PictureReader:
    """Reads the faces in pictures, each by itself.

    Raises:
        ValueError: The face detector is not installed.
    """

    def __init__(self) -> None:
        extractor = make_extractor(WEIGHTS, None, False, torch.device("cpu"))
        assert extractor.probe is not None  # it ships
        self._probe = extractor.probe
        self._cropper = Cropper(extractor.crop_config(None, DETECTOR))
        self._extractor = replace(extractor, logits=True)
        self._names = [column.name for column in self._extractor.columns]

    @property
    def units(self) -> tuple[str, ...]:
        """Return the names of the action units that it reads."""
        return self._probe.names

    def __call__(self, rgb: NDArray[np.uint8], neutral: Array | None = None) -> ReadPicture:
        """Read a picture (H, W, 3) uint8 RGB.

        Args:
            rgb: The picture.
            neutral: (A,) logits of the neutral face of whoever it shows.
        """
        [source] = sources_of(rgb)
        [frame] = self._cropper(source)
        rows = [
            dict(zip(self._names, row, strict=True))
            for batch in self._extractor.rows("", iter([frame]))
            for row in batch
            if row[SUCCESS]
        ]
        remarks = Remarks()
        remarks.see(frame)
        faces = [crop.face for crop in frame.crops]
        return ReadPicture(self._read(faces, rows, neutral), list(remarks.lines(people=1)))

    def _read(
        self, faces: Sequence[Face], rows: Sequence[dict[str, Any]], neutral: Array | None
    ) -> list[ReadFace]:
        names = [column.name for column in logit_columns(self._probe)]
        logits = np.array([[row[name] for name in names] for row in rows]).reshape(-1, len(names))
        rest = None if neutral is None else Neutral(logits=neutral)
        refine = Refinement(self._probe, rest)
        refined = refine(logits, np.full(len(rows), np.nan), np.arange(len(rows)))
        values = unit_values(self._probe, refined)
        return [
            ReadFace(
                face,
                row["confidence"],
                (row["pitch"], row["yaw"], row["roll"]),
                raw,
                [bool(on) for on in value[: len(names)]],
                value[len(names) : 2 * len(names)],
            )
            for face, row, raw, value in zip(faces, rows, logits, values, strict=True)
        ]
