"""From a video to aligned faces and their tracks."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tcae.data.align import POINT_NAMES, AlignmentTemplate, align, share_outside
from tcae.data.detectors import make_detector
from tcae.data.face_tracks import Tracker
from tcae.data.faces import Detector, Face
from tcae.data.pictures import resize
from tcae.data.sources import Picture, Source
from tcae.data.turned_faces import UprightDetector
from tcae.data.video import VideoFrame
from tcae.files.csv_text import dict_reader, open_table

LANDMARK_COLUMNS = ("video", "frame", *(f"{name}_{axis}" for name in POINT_NAMES for axis in "xy"))
_NO_POINTS = np.full((5, 2), np.nan)


class Crop(NamedTuple):
    """One aligned face.

    Attributes:
        track: Name of its track in the video.
        frame: Number of the frame in the video.
        timestamp: Seconds from the start, NaN if unknown.
        face: Where it is in the frame.
        rgb: (S, S, 3) uint8.
        outside: Share of it that lies outside the picture and repeats its border.
    """

    track: str
    frame: int
    timestamp: float
    face: Face
    rgb: NDArray[np.uint8]
    outside: float = 0.0


class CroppedFrame(NamedTuple):
    """One sampled frame.

    Attributes:
        number: Its number in the video.
        timestamp: Seconds from the start, NaN if unknown.
        crops: The faces in it.
        file: Its file if it is a still. In stills tracks say nothing of who it is.
    """

    number: int
    timestamp: float
    crops: list[Crop]
    file: Path | None = None


@dataclass(frozen=True)
class CropConfig:
    """How to find faces and cut them out.

    Attributes:
        image_size: Side of the crops in pixels.
        template: Where the five points lie in them.
        fps: Frames to take from each second of a video file; None takes all.
        faces: Name of a detector, "aligned" (pictures are faces already) or "landmarks".
        dataset: Labelled data set that the videos belong to, if any: each shows one person.
        tone_mapped: Whether HDR is read, in the colours of ordinary video.
        stills: Whether the pictures of a folder are stills, of which every face counts, not the
            frames of one person's video.
    """

    image_size: int
    template: AlignmentTemplate
    fps: float | None
    faces: str
    dataset: str | None = None
    tone_mapped: bool = False
    stills: bool = False

    @property
    def settings(self) -> dict[str, Any]:
        """Further settings that must be equal for packing to continue."""
        tone_mapped = self.tone_mapped or None  # older sets do not say it
        return {
            "dataset": self.dataset, "fps": self.fps, "faces": self.faces,
            "tone_mapped": tone_mapped,
        }  # fmt: skip

    def open(self) -> Cropper:
        """Return the function that cuts out faces.

        Raises:
            ValueError: The detector is unknown or not installed.
        """
        return Cropper(self)


class FrameMaker(Protocol):
    """Describes how to make the frames of a packed data set. Workers get a copy."""

    @property
    def image_size(self) -> int:
        """Side of the pictures in pixels."""

    @property
    def template(self) -> AlignmentTemplate:
        """Where the five points of a face lie in them."""

    @property
    def settings(self) -> dict[str, Any]:
        """Further settings that must be equal for packing to continue (any JSON)."""

    def open(self) -> Callable[[Source, Landmarks | None], Iterator[CroppedFrame]]:
        """Return a function that makes the frames of a source, in the process that calls this."""


Landmarks = dict[int, list[tuple[str, Face]]]
"""Faces of one video, given beforehand: frame number to (track, face)."""


class Cropper:
    """Cuts the faces out of videos.

    Args:
        config: How to find and cut them out; kept as an attribute.

    Raises:
        ValueError: The detector is unknown or not installed.
    """

    def __init__(self, config: CropConfig) -> None:
        self.config = config
        given = config.faces in ("aligned", "landmarks")
        self._detector: Detector | None = None if given else make_detector(config.faces)
        self._begin()

    def __call__(
        self,
        source: Source,
        landmarks: Landmarks | None = None,
        start: Mapping[str, Any] | None = None,
    ) -> Iterator[CroppedFrame]:
        """Yield the sampled frames of a source, each with the faces in it.

        Args:
            source: The video.
            landmarks: Its faces, if `config.faces` is "landmarks".
            start: What `state_dict` gave after some frames, to go on with the next one.

        Raises:
            VideoError: See `tcae.data.sources.Source.read`.
        """
        self._begin()
        if start is not None:
            self._load_state_dict(start)
        config = self.config
        stills = bool(source.stills) or (config.stills and not source.is_file)
        find = self._finder(source, landmarks or {}, stills)
        frames = source.read(config.fps, config.tone_mapped)
        for frame in islice(frames, self._frames, None):
            crops = []
            for track, face in find(frame):
                cut = self._cut(frame.rgb, face)
                if cut is not None:
                    crops.append(Crop(track, frame.index, frame.timestamp, face, *cut))
            self._frames += 1
            file = frame.file if stills and isinstance(frame, Picture) else None
            yield CroppedFrame(frame.index, frame.timestamp, crops, file)

    def state_dict(self) -> dict[str, Any]:
        """Return, as JSON can hold it, where in the latest source the last frame came from."""
        upright = None if self._upright is None else self._upright.state_dict()
        return {"frames": self._frames, "tracker": self._tracker.state_dict(), "upright": upright}

    def _begin(self) -> None:
        """Forget the source before."""
        self._frames, self._tracker = 0, Tracker()
        self._upright = None if self._detector is None else UprightDetector(self._detector)

    def _load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._frames = state["frames"]
        self._tracker.load_state_dict(state["tracker"])
        if self._upright is not None:
            self._upright.load_state_dict(state["upright"])

    def _finder(
        self, source: Source, landmarks: Landmarks, stills: bool
    ) -> Callable[[VideoFrame], list[tuple[str, Face]]]:
        """Return the function that gives the named tracks and faces of a frame of this source."""
        if self.config.faces == "landmarks":
            return lambda frame: [(source.track(t), f) for t, f in landmarks.get(frame.index, [])]
        if self.config.faces == "aligned":
            return lambda frame: [(source.track(), _whole(frame.rgb))]
        assert self._detector is not None and self._upright is not None
        detector, detect, tracker = self._detector, self._upright, self._tracker

        def named(numbers: Iterable[int], faces: list[Face]) -> list[tuple[str, Face]]:
            return [(source.track(str(k)), face) for k, face in zip(numbers, faces, strict=False)]

        def tracked(frame: VideoFrame) -> list[tuple[str, Face]]:
            faces = detect(frame.rgb)
            return named(tracker.update(frame.rgb, frame.timestamp, faces), faces)

        def every(frame: VideoFrame) -> list[tuple[str, Face]]:
            return named(count(), _largest_first(UprightDetector(detector)(frame.rgb)))

        def largest(frame: VideoFrame) -> list[tuple[str, Face]]:
            # The track is of one person already: other faces are in the background.
            return [(source.track(), face) for face in _largest_first(detect(frame.rgb))[:1]]

        if stills:
            return every
        return tracked if source.is_file and self.config.dataset is None else largest

    def _cut(self, rgb: NDArray[np.uint8], face: Face) -> tuple[NDArray[np.uint8], float] | None:
        """Return the aligned face and the share of it that lies outside the picture."""
        template, size = self.config.template, self.config.image_size
        if self.config.faces == "aligned":
            return resize(_central_square(rgb), size), 0.0
        try:
            outside = share_outside(face.points, template, *rgb.shape[:2])
            return align(rgb, face.points, template, size), outside
        except ValueError:  # points on one spot: no face
            return None


def read_landmarks(path: Path) -> dict[str, Landmarks]:
    """Read a table of faces that were found by other means.

    The CSV file has the columns `LANDMARK_COLUMNS` (`video`, `frame`, `left_eye_x`, `left_eye_y`,
    `right_eye_x` ... `right_mouth_y`) in pixels. Left and right are those of the picture. The
    columns `track` (default 0) and `confidence` (default 1) are optional. `video` is the video's
    path below the source, `frame` its frame number from 0, or the number in a picture's name.

    Args:
        path: The CSV file.

    Returns:
        The faces of each video.

    Raises:
        ValueError: The file is malformed; the message names file and line.
        OSError: It cannot be read.
    """
    videos: dict[str, Landmarks] = {}
    with open_table(path) as file:
        reader = dict_reader(file, "video")
        missing = [name for name in LANDMARK_COLUMNS if name not in (reader.fieldnames or [])]
        if missing:
            raise ValueError(f"{path}: column {missing[0]} is missing")
        try:
            for row in reader:
                frames = videos.setdefault(row["video"].strip(), {})
                frames.setdefault(int(row["frame"]), []).append(_landmark_row(row))
        except (ValueError, TypeError, AttributeError, csv.Error) as error:
            raise ValueError(f"{path}:{reader.line_num}: {error}") from error
    return videos


def _landmark_row(row: dict[str, Any]) -> tuple[str, Face]:
    points = np.array([float(row[name]) for name in LANDMARK_COLUMNS[2:]]).reshape(5, 2)
    if not np.isfinite(points).all():
        raise ValueError("a point is not finite")
    box = np.concatenate([points.min(0), points.max(0)])
    return row.get("track") or "0", Face(box, points, float(row.get("confidence") or 1))


def _whole(rgb: NDArray[np.uint8]) -> Face:
    return Face(np.array([0.0, 0.0, rgb.shape[1], rgb.shape[0]]), _NO_POINTS, float("nan"))


def _largest_first(faces: list[Face]) -> list[Face]:
    return sorted(faces, key=lambda face: -face.area)


def _central_square(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = rgb.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return rgb[top : top + side, left : left + side]
