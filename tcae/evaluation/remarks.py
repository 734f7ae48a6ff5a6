"""What somebody should know of a video before trusting its table: a line for each oddity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from tcae.data.crops import CroppedFrame
from tcae.evaluation.table import Row

_ALWAYS = 0.95  # share of its faces in which a unit is on that is always on
_OFTEN = 0.1  # share of frames or faces from which on something is told
_ENOUGH = 50  # faces; fewer say nothing about what is always on
_CUT = 0.25  # share of an aligned face that may lie outside the picture, as in tight videos
_TURNED = 60.0  # degrees of roll from which on a face does not stand upright


@dataclass
class Remarks:
    """Counts of one source, as JSON can hold them.

    Attributes:
        frames: Frames that were read.
        empty: Frames without a face.
        faces: Faces in all frames.
        crowd: The most faces in a frame.
        cut: Faces that leave the picture.
        turned: Faces that lie on their side or stand on their head.
        on: Faces in which an action unit is on, by unit.
    """

    frames: int = 0
    empty: int = 0
    faces: int = 0
    crowd: int = 0
    cut: int = 0
    turned: int = 0
    on: dict[str, int] = field(default_factory=dict)

    def see(self, frame: CroppedFrame) -> CroppedFrame:
        """Count a frame, and return it."""
        self.frames += 1
        self.empty += not frame.crops
        self.faces += len(frame.crops)
        self.crowd = max(self.crowd, len(frame.crops))
        for crop in frame.crops:
            self.cut += crop.outside > _CUT
            across = crop.face.points[1] - crop.face.points[0]
            self.turned += bool(abs(np.degrees(np.arctan2(across[1], across[0]))) > _TURNED)
        return frame

    def read(self, names: Sequence[str], rows: Sequence[Row]) -> None:
        """Count the units that are on in rows with columns of these names."""
        for place, name in enumerate(names):
            if name.startswith("AU") and name.endswith("_c"):
                unit = name.removesuffix("_c")
                self.on[unit] = self.on.get(unit, 0) + sum(row[place] == 1 for row in rows)

    def lines(self, people: int) -> Iterator[str]:
        """Yield what is odd about the source, which shows so many people."""
        if self.faces and self.empty >= _OFTEN * self.frames:
            yield f"no face in {self.empty} of {self.frames} frames"
        if people > 1:
            yield f"{people} faces, at most {self.crowd} at once; face_id tells them apart"
        if self.turned >= max(_OFTEN * self.faces, 1):
            yield f"{self._share(self.turned)} of the faces do not stand upright; is it turned?"
        if self.cut >= max(_OFTEN * self.faces, 1):
            yield f"{self._share(self.cut)} of the faces leave the picture; their values mean less"
        on = [unit for unit, count in self.on.items() if count >= _ALWAYS * self.faces]
        if on and self.faces >= _ENOUGH:
            yield (
                f"{', '.join(on)} on in {_ALWAYS:.0%} of the faces or more: probably how the face "
                "looks at rest; --neutral takes that off"
            )

    def _share(self, count: int) -> str:
        return f"{count / max(self.faces, 1):.0%}"
