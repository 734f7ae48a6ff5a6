"""Progress of packing, on stderr."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType

from tqdm import tqdm

from tcae.data.pack_worker import VideoRow

_LINE_SECONDS = 10.0


class PackDisplay:
    """Progress on stderr: a bar on a terminal, else a line every few seconds. Warnings at once.

    Args:
        videos: Number of videos to pack.
        prog: Name of the command.
    """

    def __init__(self, videos: int, prog: str) -> None:
        self._prog, self._log = prog, logging.getLogger(prog)
        self._videos, self._done, self._frames = videos, 0, 0
        self._started = self._last_line = time.monotonic()
        self._bar = tqdm(total=videos, unit="video", disable=not sys.stderr.isatty())

    def report(self, row: VideoRow | None, frames: int) -> None:
        """See `tcae.data.packing.Report`."""
        self._frames += frames
        if row is not None:
            self._done += 1
            self._bar.update()
            if row.reason:
                self._log.warning("%s: %s", row.path, row.reason)
            elif row.faces == row.tracks:
                self._log.warning("%s: no track of two frames, so it gives no pairs", row.path)
        speed = self._frames / max(time.monotonic() - self._started, 1e-9)
        self._bar.set_postfix_str(f"{speed:.0f} frames/s")
        if self._bar.disable and time.monotonic() - self._last_line > _LINE_SECONDS:
            self._last_line = time.monotonic()
            print(
                f"{self._prog}: {self._done} of {self._videos} videos, {speed:.0f} frames/s",
                file=sys.stderr,
            )

    def __enter__(self) -> PackDisplay:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()
