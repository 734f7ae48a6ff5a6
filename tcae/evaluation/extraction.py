"""From a video to rows of a table: the faces in each frame, their embeddings and action units."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch

from tcae.data.align import POINT_NAMES, AlignmentTemplate
from tcae.data.crops import Crop, CropConfig, CroppedFrame
from tcae.data.faces import Face
from tcae.data.pictures import centre
from tcae.data.video import VideoError
from tcae.evaluation.confidence import Confidence
from tcae.evaluation.head_pose import HEAD_POSE_COLUMNS, HeadPose, openface_angles, turns_of
from tcae.evaluation.linear_probe import LinearProbe
from tcae.evaluation.table import Column, Row
from tcae.evaluation.unit_columns import logit_columns, unit_columns, unit_values
from tcae.models.face_encoder import FaceEncoder

_FIXED = (
    Column("video", "text"),
    Column("frame", "int"),
    Column("timestamp", "time"),
    Column("face_id", "int"),
    Column("confidence", "real"),
    Column("success", "int"),
)
FACE_ID, CONFIDENCE, SUCCESS = 3, 4, 5
"""Places in a row of the columns ``face_id``, ``confidence`` and ``success``."""
_FILE = (Column("file", "text"),)
_BOX = tuple(Column(f"face_{name}", "real") for name in "xywh")
_POINTS = tuple(Column(f"{name}_{axis}", "real") for name in POINT_NAMES for axis in "xy")


@dataclass
class Extractor:
    """The cropped frames of a video as table rows, one per frame and face.

    The columns ``frame, timestamp, face_id, confidence, success`` are named as OpenFace names
    them, and so are ``AU12_c``, the presence of an action unit (0 or 1), and ``AU12_r``, its
    intensity from 0 to 5; `unit_columns` tells what a probe has. A frame without a face has one row
    with ``confidence`` and ``success`` 0 and no other values. ``face_x, face_y, face_w, face_h`` is
    the box of the face: left, top, width and height in pixels of the picture as shown.

    A still is no video: its ``video`` is empty, ``file`` names it, and ``face_id`` counts its own
    faces, from the largest one.

    Attributes:
        encoder: Embeds the faces.
        probe: Adds the columns of its action units, if given.
        embeddings: Which of ``au`` and ``pose`` become columns (``au_000`` ...).
        batch_size: Faces that are embedded at once.
        points: Whether the five points of each face become columns (``left_eye_x`` ...), in the
            same pixels; 0 is the centre of the first one.
        files: Whether there is a column ``file``, as stills need it.
        logits: Whether the action units have columns ``AU12_logit`` in place of all others. They
            are for a `Refinement`, which makes the others once a whole video is known.
        head_pose: Adds the pose of the head, if given.
        confidence: Makes the column ``confidence`` tell how far the action units can be trusted.
            Without it, it is the detector's.

    Raises:
        ValueError: The probe, or another thing that reads embeddings, belongs to another encoder.
    """

    encoder: FaceEncoder
    probe: LinearProbe | None = None
    embeddings: Sequence[str] = ("au", "pose")
    batch_size: int = 64
    points: bool = False
    files: bool = False
    logits: bool = False
    head_pose: HeadPose | None = None
    confidence: Confidence | None = None

    def __post_init__(self) -> None:
        if self.probe is not None:
            self.probe.check_encoder(self.encoder.fingerprint)
        for reader in (self.head_pose, self.confidence):
            if reader is not None and reader.encoder != self.encoder.fingerprint:
                raise ValueError(f"{type(reader).__name__}: it belongs to another encoder")
        if self.confidence is not None and self.head_pose is None:
            raise ValueError("confidence: it needs the pose of the head")
        self._template = AlignmentTemplate.from_dict(self.encoder.template)

    @property
    def picture_size(self) -> int:
        """Return the side of aligned pictures whose centred part has the encoder's size."""
        return round(self.encoder.image_size / self.encoder.crop)

    def crop_config(
        self, fps: float | None, faces: str, *, tone_mapped: bool = False
    ) -> CropConfig:
        """Return how to cut out faces for the encoder.

        Args:
            fps: Frames per second to take from video files; None takes all.
            faces: Name of a detector, or "aligned" for pictures that are faces already.
            tone_mapped: Read HDR, in the colours of ordinary video.
        """
        return CropConfig(
            self.picture_size, self._template, fps, faces, stills=True, tone_mapped=tone_mapped
        )

    @property
    def columns(self) -> tuple[Column, ...]:
        """Return the columns of the rows."""
        sizes = {"au": self.encoder.embedding_size, "pose": self.encoder.pose_size}
        names = [
            f"{embedding}_{i:03d}" for embedding in self.embeddings for i in range(sizes[embedding])
        ]
        return (
            *self._found,
            *(() if self.head_pose is None else HEAD_POSE_COLUMNS),
            *(Column(name, "real") for name in names),
            *(() if self.probe is None else self._units(self.probe)),
        )

    def _units(self, probe: LinearProbe) -> tuple[Column, ...]:
        return logit_columns(probe) if self.logits else unit_columns(probe)

    @property
    def _found(self) -> tuple[Column, ...]:
        """Return the columns that are known before a face is embedded."""
        return (*_FIXED, *_FILE * self.files, *_BOX, *_POINTS * self.points)

    def rows(
        self,
        video: str,
        frames: Iterator[CroppedFrame],
        advance: Callable[[int], object] = lambda _: None,
        numbers: dict[str, int] | None = None,
    ) -> Iterator[list[Row]]:
        """Yield the rows of one video in the order of its frames, a batch at a time.

        Args:
            video: What the columns ``video`` and ``file`` say of frames that are no stills.
            frames: Its frames; no more than about a batch of them is held.
            advance: Called with the number of frames since the last call when the caller comes
                back after the last of their rows. No frame after them has been taken yet.
            numbers: The ``face_id`` of each track so far; it is kept up to date.

        Raises:
            VideoError: The video is damaged. It comes after the rows of all frames before.
        """
        numbers = {} if numbers is None else numbers
        pending: list[_Pending] = []
        taken, failure = 0, None
        while failure is None:
            try:
                frame = next(frames, None)
            except VideoError as error:
                frame, failure = None, error
            if frame is not None:
                pending += self._rows_of(video, frame, numbers)
                taken += 1
            if len(pending) >= self.batch_size or frame is None:
                yield from self._complete(pending)
                pending.clear()
                if taken:
                    advance(taken)
                taken = 0
            if frame is None:
                break
        if failure is not None:
            raise failure

    def _rows_of(self, video: str, frame: CroppedFrame, numbers: dict[str, int]) -> list[_Pending]:
        """Return the rows of a frame; ``numbers`` holds the face_id of each track so far."""
        still = frame.file is not None
        name = None if still else video
        file = [str(frame.file) if still else video] * self.files
        time = _known(frame.timestamp)
        if not frame.crops:
            nowhere = [None] * (len(self._found) - len(_FIXED) - len(file))
            return [_Pending([name, frame.number, time, None, 0.0, 0, *file, *nowhere])]
        numbers = {} if still else numbers
        rows = []
        for crop in frame.crops:
            face_id = numbers.setdefault(crop.track, len(numbers))
            fixed = [name, frame.number, time, face_id, None, 1]
            rgb = centre(crop.rgb, self.encoder.crop, self.encoder.image_size)
            place = self._place(crop.face)
            rows.append(_Pending([*fixed, *file, *place], crop._replace(rgb=rgb)))
        return sorted(rows, key=lambda row: row.fixed[3])

    def _place(self, face: Face) -> list[float | None]:
        left, top, right, bottom = face.box.tolist()
        box = [left, top, right - left, bottom - top]
        return [*box, *(map(_known, face.points.ravel().tolist()) if self.points else ())]

    def _complete(self, pending: list[_Pending]) -> Iterator[list[Row]]:
        """Yield the rows with what the encoder and the probe say of their faces, by batches."""
        nothing: list[Any] = [None] * (len(self.columns) - len(self._found))
        for start in range(0, len(pending), self.batch_size):
            batch = pending[start : start + self.batch_size]
            crops = [row.crop for row in batch if row.crop is not None]
            read = iter(self._values(crops) if crops else [])
            rows: list[Row] = []
            for row in batch:
                values = nothing
                if row.crop is not None:
                    row.fixed[CONFIDENCE], values = next(read)
                rows.append([*row.fixed, *values])
            yield rows

    def _values(self, crops: list[Crop]) -> list[tuple[float | None, list[Any]]]:
        """Return the confidence of each face, and the columns that are read off it."""
        images = np.stack([crop.rgb for crop in crops])
        confidences: list[float | None] = [_known(crop.face.confidence) for crop in crops]
        embedded = self.encoder.embed(torch.from_numpy(images).permute(0, 3, 1, 2))
        arrays = {name: value.float().cpu().numpy() for name, value in embedded._asdict().items()}
        parts: list[list[Any]] = [[()] * len(crops)]
        if self.head_pose is not None:
            degrees = self.head_pose.degrees(arrays["pose"], turns_of(crops, self._template))
            parts += [openface_angles(degrees).tolist(), degrees[:, [1, 0, 2]].tolist()]
            if self.confidence is not None:
                both = np.concatenate([arrays["au"], arrays["pose"]], 1)
                seen = self.confidence.qualities(crops, self._template, degrees, both)
                confidences = self.confidence(seen).tolist()
        parts += [arrays[name].tolist() for name in self.embeddings]
        if self.probe is not None:
            logits = self.probe.logits(arrays[self.probe.embedding])
            parts.append(logits.tolist() if self.logits else unit_values(self.probe, logits))
        values = [list(chain.from_iterable(row)) for row in zip(*parts, strict=True)]
        return list(zip(confidences, values, strict=True))


@dataclass(frozen=True)
class _Pending:
    """A row that waits for its face to be embedded."""

    fixed: list[Any]
    crop: Crop | None = None


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
