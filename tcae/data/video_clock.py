"""Times and numbers of a video's frames, strictly rising whatever the container tells."""

from __future__ import annotations

import logging

import av

from tcae.data.video_survey import Survey, own_time

log = logging.getLogger(__name__)

_JUMP = 0.1  # seconds back from which on time begins anew, as for FFmpeg


class Clock:
    """Gives each frame its time and its number.

    Args:
        path: The file, for warnings.
        survey: Its packets.
        rate: Frames per second, where the container has no times.
        stored_order: See `tcae.data.video_survey.in_stored_order`.

    Attributes:
        time: Seconds of the frame at hand since the first one.
        number: Its number. Slots count where the survey found some, without a picture or not, else
            pictures, whether they could be decoded or not.
    """

    def __init__(self, path: str, survey: Survey, rate: float, stored_order: bool) -> None:
        self._path, self._survey, self._rate = path, survey, rate
        self._stored_order = stored_order
        self.time, self.number = 0.0, -1
        self._started = False
        self._shift: float | None = None  # from the container's time to ours
        self._warned = False
        if survey.slots is not None and survey.slots > survey.pictures:
            log.warning(
                "%s: %d pictures in %d frames of %.4g a second; numbers count frames, so that they "
                "have gaps",
                *(path, survey.pictures, survey.slots, rate),
            )

    def advance(self, frame: av.VideoFrame, lost: int) -> None:
        """Go on to the next frame.

        Args:
            frame: The frame.
            lost: Pictures before it, and after the one before, that could not be decoded.
        """
        before = self.time
        own = own_time(frame, self._stored_order)
        if own is not None and frame.dts is not None:
            own += self._survey.skipped(frame.dts) / self._rate
        if self._started:
            self._go_on(own)
        else:
            self._start(own, lost)
        steps = 1 + lost
        if self._survey.slots is not None:
            steps = max(round((self.time - before) * self._rate) + (not self._started), 1)
        self.number += steps
        self._started = True

    def _start(self, own: float | None, lost: int) -> None:
        first = self._survey.first
        if lost and own is not None and first is not None and 0 < own - first < self._survey.leap:
            self.time = own - first
        self._tell_of_missing(own)
        self._shift = None if own is None else self.time - own

    def _go_on(self, own: float | None) -> None:
        following = self.time + 1 / self._rate
        time = following if own is None or self._shift is None else own + self._shift
        step = time - self.time
        if not 0 < step < self._survey.leap:
            self._warn()
            # As where files were joined. A little may be a rounded time: the next ones are right.
            far = step < -_JUMP or step > 0
            time = following if far else self.time + 0.5 / self._rate
            self._shift = None if far else self._shift
        self._tell_of_missing(own)
        if own is not None and self._shift is None:
            self._shift = time - own
        self.time = time

    def _tell_of_missing(self, own: float | None) -> None:
        # AVI has no number for the last pictures if they are not stored as shown: no fault.
        if own is None and not self._stored_order:
            self._warn()

    def _warn(self) -> None:
        if not self._warned:
            log.warning(
                "%s: some frames have no time, an earlier one than the frame before or one much "
                "later; these follow it at %.4g frames a second",
                *(self._path, self._rate),
            )
        self._warned = True
