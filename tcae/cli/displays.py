"""Progress of reading videos, on stderr: a bar on a terminal, else a line every few seconds."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType

from tqdm import tqdm

from tcae.data.pack_worker import VideoRow
from tcae.data.sources import Source

LINE_SECONDS = 10.0
"""At least this long between two lines."""


class PackDisplay:
    """Progress of packing. Warnings come at once.

    Args:
        videos: Number of videos to pack.
        prog: Name of the command.
    """

    def __init__(self, videos: int, prog: str) -> None:
        self._log, self._lines = logging.getLogger(prog), _Lines(prog)
        self._videos, self._done, self._frames = videos, 0, 0
        self._started = time.monotonic()
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
        if self._bar.disable:
            self._lines.tell(f"{self._done} of {self._videos} videos, {speed:.0f} frames/s")

    def __enter__(self) -> PackDisplay:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()


class FrameDisplay:
    """Progress of an analysis, see `tcae.evaluation.analysis.Watcher`. It says what is finished.

    Args:
        prog: Name of the command.
        fps: Frames that are taken from each second of a video file, None for all.
    """

    def __init__(self, prog: str, fps: float | None) -> None:
        self._fps, self._lines = fps, _Lines(prog)
        self._label, self._bar = "", tqdm(disable=True)

    def begin(self, source: Source, frames: int) -> None:
        """Show a source from the start, or after some frames."""
        self._bar.close()
        self._label, self._total = source.label, source.estimated_frames(self._fps)
        self._first = self._done = frames
        self._begun = time.monotonic()
        self._bar = tqdm(
            total=self._total,
            initial=frames,
            desc=source.path.name,
            unit="frame",
            disable=not sys.stderr.isatty(),
        )

    def advance(self, frames: int) -> None:
        """Show that so many more frames are done."""
        self._done += frames
        self._bar.update(frames)
        if self._bar.disable:
            speed = (self._done - self._first) / max(time.monotonic() - self._begun, 1e-9)
            total = "" if self._total is None else f" of {self._total}"
            self._lines.tell(f"{self._label}: {self._done}{total} frames, {speed:.1f} frames/s")

    def end(self, rows: int, faces: int) -> None:
        """Say that the source was read in full and shows faces."""
        from tcae.cli.progress import say  # not above: packing need not wait for torch

        self.close()
        say(f"{self._label}: {rows} rows, {faces} faces")

    def close(self) -> None:
        """Remove the bar."""
        self._bar.close()


class _Lines:
    """Lines on stderr, few of them.

    Args:
        prog: What each begins with.
    """

    def __init__(self, prog: str) -> None:
        self._prog, self._last = prog, time.monotonic()

    def tell(self, text: str) -> None:
        """Print the text unless there was a line a short time ago."""
        if time.monotonic() - self._last > LINE_SECONDS:
            self._last = time.monotonic()
            print(f"{self._prog}: {text}", file=sys.stderr, flush=True)
