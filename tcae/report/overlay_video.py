"""A video with its faces marked and their action units beside it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from tcae.data.video import VideoError, VideoFrame, read_frames
from tcae.data.video_writer import VideoWriter
from tcae.report.face_table import FaceTable
from tcae.report.overlay import FACE_COLOURS, MarkedFace, Marks, Overlay

log = logging.getLogger(__name__)

_SAME = 2e-3  # seconds; tables round their times
_FEW_MISSED = 10  # frames
_MISSED_SHARE = 0.05


class OverlayVideo:
    """Draws the rows of a table on the frames of its video.

    Args:
        video: The video.
        table: Its rows.
        tone_mapped: Read HDR in the colours of ordinary video.

    Attributes:
        shape: Height and width of the picture in what was written, without the bars.
        seconds: Length of what was written.
        failure: What was wrong with the video, None if it was read in full.
    """

    def __init__(self, video: Path, table: FaceTable, tone_mapped: bool = False) -> None:
        self._video, self._table, self._tone_mapped = video, table, tone_mapped
        self._tracks = table.tracks()
        self._marks = Marks(table)
        times = table.times
        self._held = 1.5 * float(np.median(np.diff(times))) if len(times) > 1 else 0.1
        self.shape, self.seconds = (0, 0), 0.0
        self.failure: str | None = None

    def write(self, path: Path) -> Iterator[int]:
        """Write the video, H.264 in MP4 with the sound and the times of the source.

        Frames that the table leaves out show what it says of the frame before.

        Args:
            path: The file.

        Yields:
            The number of frames so far.

        Raises:
            ValueError: The table has frames that the video does not have.
            VideoError: The video cannot be read at all.
        """
        fit = _Fit(self._table, self._video)
        with ExitStack() as stack:
            writer, overlay, step = None, None, 0.0
            for count, frame in enumerate(self._frames(), 1):
                if overlay is None or writer is None:
                    faces = [track.face for track in self._tracks[: len(FACE_COLOURS)]]
                    overlay = Overlay(frame.rgb.shape[:2], self._table.units, faces)
                    self.shape = overlay.shape[0], overlay.picture_width
                    writer = stack.enter_context(VideoWriter(path, *overlay.shape, self._video))
                at = fit.place(frame.timestamp)
                writer.write(overlay.draw(frame.rgb, self._faces(at, frame)), frame.timestamp)
                step = frame.timestamp - self.seconds if count > 1 else 0.04
                self.seconds = frame.timestamp
                yield count
            fit.finish(self.failure is None)
            self.seconds += step

    def _frames(self) -> Iterator[VideoFrame]:
        """Yield the frames; damage after the first one is remembered."""
        seen = False
        try:
            for frame in read_frames(self._video, tone_mapped=self._tone_mapped):
                yield frame
                seen = True
        except VideoError as error:
            if not seen:
                raise
            self.failure = str(error)

    def _faces(self, at: int, frame: VideoFrame) -> list[MarkedFace]:
        if at < 0 or frame.timestamp - self._table.times[at] > self._held:
            return []
        places = ((track, int(np.searchsorted(track.frames, at))) for track in self._tracks)
        return [
            self._marks.of(int(track.rows[place]))
            for track, place in places
            if place < len(track.frames) and track.frames[place] == at
        ]


class _Fit:
    """Finds the frame of a table for each time of a video, and whether they belong together."""

    def __init__(self, table: FaceTable, video: Path) -> None:
        self._times, self._path, self._video = table.times, table.path, video
        self._next = self._missed = 0

    def place(self, time: float) -> int:
        """Return the last frame of the table at or before a time, -1 if there is none."""
        while self._next < len(self._times) and self._times[self._next] < time - _SAME:
            self._missed += 1  # the video has no frame at this time
            self._next += 1
        if self._next < len(self._times) and self._times[self._next] <= time + _SAME:
            self._next += 1
        if self._missed > _FEW_MISSED and self._missed > _MISSED_SHARE * self._next:
            self._refuse()
        return self._next - 1

    def finish(self, whole: bool) -> None:
        """See to the frames of the table after the last one of the video, if that was whole."""
        self._missed += len(self._times) - self._next if whole else 0
        if self._missed > _MISSED_SHARE * len(self._times):
            self._refuse()
        if self._missed:
            log.warning(
                "%s: %d of its %d frames are at times at which %s has none",
                *(self._path, self._missed, len(self._times), self._video),
            )

    def _refuse(self) -> None:
        raise ValueError(
            f"{self._path}: does not fit {self._video}; is it of another video? The video has no "
            f"frame at the times of {self._missed} of the table's {len(self._times)} frames"
        )
