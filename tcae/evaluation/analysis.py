"""From many videos and pictures to the rows of one table, which can be gone on with anywhere."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tcae.cli.signals import terminations_as_interrupts
from tcae.data.crops import Cropper
from tcae.data.sources import Source
from tcae.data.video import VideoError
from tcae.evaluation.extraction import SUCCESS, Extractor
from tcae.evaluation.refinement import RefinedRows, Refinement
from tcae.evaluation.remarks import Remarks
from tcae.evaluation.table import Column, Row, TableWriter
from tcae.files.weight_file import digest

log = logging.getLogger(__name__)


class Watcher(Protocol):
    """Is told how far an analysis is."""

    def begin(self, source: Source, frames: int) -> None:
        """Hear of a source that begins, or goes on after some frames."""

    def advance(self, frames: int) -> None:
        """Hear that so many more frames are done."""

    def end(self, rows: int, faces: int) -> None:
        """Hear that the source was read in full and shows faces."""


@dataclass
class _Position:
    """After which row an analysis is; all of it can be held by JSON.

    Attributes:
        source: Number of sources that are done.
        failed: How many of them could not be read in full or show no face.
        rows: Rows of the source at hand.
        faces: How many of them have a face.
        numbers: `face_id` of its tracks.
        crops: State of the cropper, None before its first frame.
        remarks: What was seen so far.
    """

    source: int = 0
    failed: int = 0
    rows: int = 0
    faces: int = 0
    numbers: dict[str, int] = field(default_factory=dict)
    crops: dict[str, Any] | None = None
    remarks: dict[str, Any] = field(default_factory=dict)


class Analysis:
    """The rows of a table of videos and pictures, in their order.

    A source that cannot be read in full or shows no face is a warning of the log.

    Args:
        sources: The videos and pictures.
        cropper: Cuts the faces out.
        extractor: Embeds them.
        remarks: Whether to warn of what is odd about a source, see `Remarks`.

    Example:
        >>> import cv2
        >>> import numpy as np
        >>> from pathlib import Path
        >>> from tcae.data.sources import find_sources
        >>> from tcae.models.encoder_file import load_encoder
        >>> cv2.imwrite("face.png", np.full((80, 80, 3), 120, np.uint8))
        True
        >>> extractor = Extractor(load_encoder("synthetic-64"))
        >>> cropper = Cropper(extractor.crop_config(None, "aligned"))
        >>> analysis = Analysis(find_sources(Path("face.png")), cropper, extractor)
        >>> [len(rows) for rows in analysis.rows()]
        [1]
    """

    def __init__(
        self,
        sources: Sequence[Source],
        cropper: Cropper,
        extractor: Extractor,
        remarks: bool = False,
    ) -> None:
        self._sources, self._cropper, self._extractor = sources, cropper, extractor
        self._remarks = remarks
        self._at = _Position()

    @property
    def columns(self) -> tuple[Column, ...]:
        """Return the columns of the rows."""
        return self._extractor.columns

    @property
    def settings(self) -> dict[str, object]:
        """Return what the rows depend on besides their columns, as `TableWriter` takes it."""
        inputs = hashlib.sha256()
        for source in self._sources:
            try:
                names = [source.path] if source.is_file else source.pictures()
                size = source.size()
            except OSError:  # whoever reads it will say so
                names, size = [source.path], 0
            inputs.update(repr((*map(os.fspath, names), size)).encode())
        config, probe = self._cropper.config, self._extractor.probe
        return {
            "encoder": self._extractor.encoder.fingerprint,
            "probe": None if probe is None else digest(probe.weights()),
            "fps": config.fps,
            "tone_map": config.tone_mapped,
            "faces": config.faces,
            "batch_size": self._extractor.batch_size,
            "inputs": inputs.hexdigest()[:12],
        }

    @property
    def failed(self) -> int:
        """Return how many sources so far could not be read in full or show no face."""
        return self._at.failed

    def rows(
        self,
        mark: Callable[[dict[str, Any]], object] = lambda _: None,
        watcher: Watcher | None = None,
        start: Mapping[str, Any] | None = None,
    ) -> Iterator[list[Row]]:
        """Yield the rows, a batch at a time.

        Args:
            mark: Called now and then, when the caller comes back for more, with where to go on
                after the rows that it has got. JSON can hold it.
            watcher: Is told how far the analysis is.
            start: Where to go on: a position that `mark` was given.
        """
        self._at = _Position(**(start or {}))
        while self._at.source < len(self._sources):
            source = self._sources[self._at.source]
            try:
                yield from self._rows_of(source, mark, watcher)
                failure = None if self._at.faces else f"{source.label}: no face in it"
            except VideoError as error:
                failure = str(error)
            if failure is not None:
                log.warning("%s", failure)
            elif watcher is not None:
                watcher.end(self._at.rows, self._at.faces)
            if self._remarks:
                for line in Remarks(**self._at.remarks).lines(len(self._at.numbers)):
                    log.warning("%s: %s", source.label, line)
            failed = self._at.failed + (failure is not None)
            self._at = _Position(self._at.source + 1, failed)
            mark(asdict(self._at))

    def _rows_of(
        self,
        source: Source,
        mark: Callable[[dict[str, Any]], object],
        watcher: Watcher | None,
    ) -> Iterator[list[Row]]:
        at = self._at
        if watcher is not None:
            watcher.begin(source, at.crops["frames"] if at.crops else 0)

        remarks, names = Remarks(**at.remarks), [column.name for column in self.columns]

        def advance(frames: int) -> None:
            at.remarks = asdict(remarks)
            at.crops = self._cropper.state_dict()
            mark(asdict(at))
            if watcher is not None:
                watcher.advance(frames)

        frames = map(remarks.see, self._cropper(source, None, at.crops))
        for rows in self._extractor.rows(str(source.path), frames, advance, at.numbers):
            at.rows += len(rows)
            at.faces += sum(row[SUCCESS] for row in rows)
            remarks.read(names, rows)
            yield rows


def write_table(
    analysis: Analysis,
    out: Path,
    watcher: Watcher,
    *,
    names: Sequence[str] | None = None,
    resume: bool,
    advice: str,
    refinement: Refinement | None = None,
) -> int:
    """Write the rows of an analysis to a table and return their number.

    Memory does not grow with it. If the process is stopped, the rows so far are kept.

    Args:
        analysis: Gives the rows.
        out: The table.
        watcher: Is told how far it is.
        names: Which columns to write, in this order. None: all.
        resume: Go on with a table that was not finished, if there is one.
        advice: What to say of how to go on with rows that are kept.
        refinement: What is done to the logits of a video once all its rows are there; the extractor
            gives logits then.

    Raises:
        ValueError: No frame could be read. Or as for `TableWriter`.
        OSError: For example the disk is full.
    """
    every = {column.name: column for column in analysis.columns}
    chosen = [every[name] for name in (every if names is None else names)]
    places = [list(every).index(column.name) for column in chosen]
    finish = None if refinement is None else RefinedRows(chosen, refinement)
    with TableWriter(out, chosen, analysis.settings, resume, finish) as table:
        try:
            with terminations_as_interrupts():
                for rows in analysis.rows(table.mark, watcher, table.position):
                    table.write([[row[place] for place in places] for row in rows])
        except BaseException:
            if table.kept:
                log.warning("%s: %d rows are kept; %s", out, table.kept, advice)
            raise
        if not table.rows:
            raise ValueError(f"no frame could be read, so {out} is not written")
        return table.rows
