"""One call from a video, a picture or a camera to a table: the function `tcae.analyse`."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tcae.cli.command import device_of
from tcae.cli.signals import StopSignals
from tcae.data.any_source import has_camera, sources_of
from tcae.data.crops import Cropper
from tcae.evaluation.analysis import Analysis
from tcae.evaluation.confidence import find_confidence
from tcae.evaluation.extraction import Extractor
from tcae.evaluation.head_pose import find_head_pose
from tcae.evaluation.linear_probe import PROBE, PROBE_FILE, LinearProbe, load_probe
from tcae.evaluation.refinement import RefinedRows, Refinement
from tcae.evaluation.refinement_options import NeutralChoice, refined
from tcae.evaluation.table import Column, Row
from tcae.models.encoder_file import beside_encoder, load_encoder
from tcae.models.face_encoder import FaceEncoder

if TYPE_CHECKING:
    import pandas

log = logging.getLogger(__name__)

DETECTOR = "mtcnn"
_BATCH = 1024  # rows
_FIRST = ("file", "frame", "timestamp", "face_id", "confidence", "success")


def analyse(
    source: Any,
    *,
    encoder: FaceEncoder | Path | str = "detector-64",
    probe: LinearProbe | Path | str | None = None,
    fps: float | None = None,
    seconds: float | None = None,
    embeddings: bool = False,
    neutral: NeutralChoice = None,
    smooth: float = 0.0,
    tone_map: bool = False,
    device: str = "auto",
) -> pandas.DataFrame:
    """Return a table of the faces in videos, pictures, arrays or a camera, and what they do.

    It has a row for each frame and face, and one for each frame without a face. Its columns are
    told in docs/analyse.md. What could not be read is a warning of the log, and the rest goes on.

    Args:
        source: A video or picture, or a folder of them (`str` or `Path`); a picture in memory,
            (H, W, 3) uint8 RGB; a video in memory, (N, H, W, 3); the number of a camera; or a list
            of any of these. In a list, pictures in memory that follow each other are the frames of
            one video.
        encoder: Name of weights that ship, a run directory, a file, or an encoder.
        probe: What reads action units out of its embeddings: a name, a file, or a probe. None: the
            one that lies beside the encoder, if there is one.
        fps: Frames per second. Of files and cameras so many are taken, and None takes all; arrays
            have so many, and None gives them no times.
        seconds: How long to look at a camera. None: until it is interrupted (Ctrl-C, or the stop
            button of a notebook), which keeps the rows so far.
        embeddings: Whether to add the embeddings as columns ``au_000 ...`` and ``pose_000 ...``.
        neutral: What is taken off each face's action units, because it is there at rest: "auto",
            the calmest tenth of the face's frames in a video; (start, end) in seconds of the video;
            a picture or video (path) of the person's neutral face; or None. The log says what was
            done.
        smooth: Smooth action units over so many seconds, without a delay. 0: no smoothing.
        tone_map: Read HDR videos and pictures, in the colours of ordinary ones. Off: they are
            refused.
        device: Where to compute: "auto", "cpu", "cuda", "cuda:1", "mps".

    Returns:
        The table, in the order of sources and frames. Whole numbers can be missing in it ("Int64").

    Raises:
        ImportError: pandas is not installed.
        ValueError: There is nothing at a path, no frame could be read, an array is no picture, or
            an option is wrong.

    Example:
        >>> import numpy as np
        >>> import tcae
        >>> table = tcae.analyse(np.full((2, 120, 160, 3), 90, np.uint8), fps=25)
        >>> table.timestamp.tolist(), table.success.tolist()
        ([0.0, 0.04], [0, 0])
    """
    if fps is not None and not 0 < fps < float("inf"):
        raise ValueError(f"fps must be positive, not {fps}")
    _pandas()  # before the work is done
    with interrupts_end_cameras(has_camera(source)) as stopped:
        sources = sources_of(source, fps, seconds, stopped)
        extractor = make_extractor(encoder, probe, embeddings, device_of(device))
        cropper = Cropper(extractor.crop_config(fps, DETECTOR, tone_mapped=tone_map))
        extractor, refinement = refined(extractor, cropper, neutral, smooth)
        analysis = Analysis(sources, cropper, extractor, remarks=True)
        columns, names = extractor.columns, column_names(extractor)
        table = _data_frame(columns, names, analysis.rows())
    if refinement is not None and len(table):
        table = _refined(table, columns, names, refinement)
        log.info("%s", refinement.summary())
    if not len(table):
        raise ValueError(f"{', '.join(s.label for s in sources)}: no frame could be read")
    return table


def make_extractor(
    encoder: FaceEncoder | Path | str,
    probe: LinearProbe | Path | str | None,
    embeddings: bool,
    device: torch.device,
) -> Extractor:
    """Return what `analyse` reads faces with. Its arguments are explained there."""
    head_pose, confidence = None, None
    if isinstance(encoder, (str, Path)):
        head_pose, confidence = find_head_pose(encoder), find_confidence(encoder)
        if probe is None:
            probe = beside_encoder(encoder, PROBE_FILE, f"{PROBE}/{PROBE_FILE}")
        encoder = load_encoder(encoder, device)
    if isinstance(probe, (str, Path)):
        probe = load_probe(probe, device)
    wanted = ("au", "pose") if embeddings else ()
    return Extractor(
        encoder,
        probe,
        wanted,
        points=True,
        files=True,
        head_pose=head_pose,
        confidence=confidence,
    )


def column_names(extractor: Extractor) -> list[str]:
    """Return the columns of the table in its order: embeddings come last."""
    names = [column.name for column in extractor.columns]
    last = [name for name in names if re.fullmatch(r"(au|pose)_\d+", name)]
    middle = [name for name in names if name not in {*_FIRST, *last, "video"}]
    return [*_FIRST, *middle, *last]


@contextlib.contextmanager
def interrupts_end_cameras(there_are_some: bool) -> Iterator[Callable[[], object]]:
    """Let the first Ctrl-C end what cameras show instead of the work, if there are some.

    Yields:
        What tells a camera whether to end, see `tcae.data.camera.Camera`.
    """
    if not there_are_some:
        yield lambda: False
        return
    with StopSignals() as stop:
        yield lambda: stop.received


def _data_frame(
    columns: Sequence[Column], names: Sequence[str], batches: Iterable[list[Row]]
) -> pandas.DataFrame:
    """Return rows as a pandas table with the columns of these names."""
    pandas = _pandas()
    types = {"text": object, "int": "Int64", "time": "float64", "real": "float64"}
    kinds = {column.name: types[column.kind] for column in columns}
    every = [*kinds]
    # A frame for each batch: cells as objects would take ten times the memory of the table.
    parts = [
        pandas.DataFrame(rows, columns=every).astype(kinds)[[*names]] for rows in batches if rows
    ]
    if not parts:
        return pandas.DataFrame(columns=[*names])
    return pandas.concat(parts, ignore_index=True)


def _refined(
    table: pandas.DataFrame,
    columns: Sequence[Column],
    names: Sequence[str],
    refinement: Refinement,
) -> pandas.DataFrame:
    """Return a table of logits with the values that are made of them."""
    kinds = {column.name: column for column in columns}
    missing = _pandas().isna
    finish = RefinedRows([kinds[name] for name in names], refinement)

    def read() -> Iterator[Row]:
        for row in table.itertuples(index=False, name=None):
            yield [None if missing(cell) else cell for cell in row]

    rows = finish(read)
    batches = iter(lambda: list(islice(rows, _BATCH)), [])
    return _data_frame(finish.columns, [column.name for column in finish.columns], batches)


def _pandas() -> Any:
    try:
        import pandas
    except ImportError:
        raise ImportError(
            "tcae.analyse returns a pandas.DataFrame, which needs pandas: pip install 'tcae[faces]'"
        ) from None
    return pandas
