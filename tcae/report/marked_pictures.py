"""Pictures with their faces marked, as files, and the page that shows them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tcae.data.pictures import encode_jpeg
from tcae.data.sources import Picture, Source
from tcae.data.video import VideoError
from tcae.files.durable import write_durably
from tcae.report.face_table import FaceTable
from tcae.report.overlay import Marks, Overlay
from tcae.report.page import address_of, data_address
from tcae.report.picture_page import ShownPicture

MOST_HELD = 30_000_000
"""Bytes of pictures that a page holds; further ones lie beside it."""

_PAGE_SIDE = 900  # pixels
_PAGE_QUALITY = 85


class MarkedPictures:
    """Draws the rows of a table on the pictures that they are of.

    Args:
        source: The pictures.
        table: Their rows.
        tone_mapped: Read HDR in the colours of ordinary pictures.

    Attributes:
        shown: The pictures so far, for `tcae.report.picture_page`.
        failure: What was wrong with them, None if all were read.
    """

    def __init__(self, source: Source, table: FaceTable, tone_mapped: bool = False) -> None:
        self._source, self._table, self._tone_mapped = source, table, tone_mapped
        self._marks = Marks(table)
        self._held = 0
        self.shown: list[ShownPicture] = []
        self.failure: str | None = None

    def write(self, target: Path) -> Iterator[int]:
        """Write the pictures with their faces marked and their action units beside, as JPEG.

        Args:
            target: The file of a single picture; else the folder, where each has its own name.

        Yields:
            The number of pictures so far.

        Raises:
            VideoError: None can be read.
        """
        if self._folder:
            target.mkdir(exist_ok=True)
        try:
            for frame in self._source.read(tone_mapped=self._tone_mapped):
                assert isinstance(frame, Picture)
                path = target / f"{frame.file.name}.jpg" if self._folder else target
                self._write(frame, path)
                yield len(self.shown)
        except VideoError as error:
            if not self.shown:
                raise
            self.failure = str(error)

    def _write(self, frame: Picture, path: Path) -> None:
        faces = [self._marks.of(int(row)) for row in self._table.rows_of(frame.file)]
        with_bars = [face.face for face in faces]
        overlay = Overlay(frame.rgb.shape[:2], self._table.units, with_bars)
        drawn = overlay.draw(frame.rgb, faces)
        write_durably(path, encode_jpeg(drawn))
        small = _for_the_page(drawn[:, : overlay.picture_width])
        address = address_of(f"{path.parent.name}/{path.name}" if self._folder else path.name)
        if self._held + len(small) <= MOST_HELD:
            self._held += len(small)
            address = data_address(small, "image/jpeg")
        self.shown.append(ShownPicture(frame.file.name, address, faces))

    @property
    def _folder(self) -> bool:
        return len(self._source.stills) != 1


def _for_the_page(picture: NDArray[np.uint8]) -> bytes:
    """Return a picture as a small JPEG file."""
    share = min(_PAGE_SIDE / max(picture.shape[:2]), 1)
    size = max(round(picture.shape[1] * share), 1), max(round(picture.shape[0] * share), 1)
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    quality = [cv2.IMWRITE_JPEG_QUALITY, _PAGE_QUALITY]
    return cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), quality)[1].tobytes()
