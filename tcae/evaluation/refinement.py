"""What is done to the logits of a video before they become values: neutral face and smoothing."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcae.evaluation.calibration import Floats
from tcae.evaluation.linear_probe import LinearProbe
from tcae.evaluation.metrics import Array
from tcae.evaluation.neutral import FEWEST, Neutral, levelled
from tcae.evaluation.smoothing import smooth
from tcae.evaluation.table import Column, Row
from tcae.evaluation.unit_columns import logit_columns, unit_columns, unit_values

_AT_ONCE = 1024  # rows whose values are made at once


@dataclass
class Refinement:
    """Corrects the logits of each face in a video.

    Attributes:
        probe: Gave the logits.
        neutral: Where neutral faces are found, for a probe that is calibrated. None: levels stay
            as they are.
        seconds: Width of the window that smooths over time. 0: no smoothing.
        faces: How many faces of how many videos it has seen so far.
        levelled: How many of them have a neutral face.
    """

    probe: LinearProbe
    neutral: Neutral | None = None
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
            refined[rows] = self._of_face(refined[rows], times[rows])
        return refined

    def _of_face(self, logits: Array, times: Array) -> Array:
        self.faces += 1
        if self.neutral is not None:
            calibration = self.probe.calibrated()
            found = self.neutral.of(logits, times, calibration)
            if found is not None:
                self.levelled += 1
                logits = levelled(logits, found, calibration)
        if self.seconds and np.isfinite(times).all():
            logits = smooth(logits, times, self.seconds)
        return logits

    def summary(self) -> str:
        """Say in one line what was done."""
        if self.neutral is None:
            told = []
        else:
            whose = f"{self.levelled} of {self.faces} faces"
            told = [f"neutral face ({self.neutral.title}) taken off {whose}"]
            if self.levelled < self.faces and self.neutral.frames == "auto":
                told[0] += f", the others have fewer than {FEWEST} frames"
        told += [f"smoothed over {self.seconds:g} s"] if self.seconds else []
        return f"action units: {'; '.join(told)}"


class RefinedRows:
    """Makes the rows of a table from rows with logits, a video after the other; a `Finish`.

    Of a video at hand, all logits are in memory, and nothing else.

    Args:
        columns: Those of the rows with logits.
        refinement: Corrects the logits.
    """

    def __init__(self, columns: Sequence[Column], refinement: Refinement) -> None:
        self._refinement, probe = refinement, refinement.probe
        names = [column.name for column in columns]
        first = names.index(logit_columns(probe)[0].name)
        self._units = slice(first, first + len(probe.names))
        self._video = names.index("file" if "file" in names else "video")
        self._place = {name: names.index(name) for name in ("timestamp", "face_id")}
        self._width = len(unit_columns(probe))
        self.columns = (*columns[:first], *unit_columns(probe), *columns[self._units.stop :])

    def __call__(self, read: Callable[[], Iterator[Row]]) -> Iterator[Row]:
        """Yield the rows; `read` is called twice."""
        behind = read()
        for _, rows in groupby(read(), key=lambda row: row[self._video]):
            count, values = self._values(rows)
            for row in islice(behind, count):
                face = row[self._place["face_id"]] is not None
                units: Sequence[Any] = next(values) if face else [None] * self._width
                yield [*row[: self._units.start], *units, *row[self._units.stop :]]

    def _values(self, rows: Iterator[Row]) -> tuple[int, Iterator[list[Any]]]:
        """Return the number of rows of a video, and the values of those that show a face."""
        logits, times, faces, count = array("d"), array("d"), array("q"), 0
        for row in rows:
            count += 1
            time, face = (row[self._place[name]] for name in ("timestamp", "face_id"))
            if face is not None:
                logits.extend(row[self._units])
                times.append(float("nan") if time is None else time)
                faces.append(face)
        if not faces:
            return count, iter(())
        every = np.frombuffer(logits).reshape(len(faces), -1)
        refined = self._refinement(every, np.array(times), np.array(faces))
        parts = (refined[start : start + _AT_ONCE] for start in range(0, len(faces), _AT_ONCE))
        return count, (row for part in parts for row in unit_values(self._refinement.probe, part))
