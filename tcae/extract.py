"""``python -m tcae.extract``: write a table with a row for each frame and face of videos."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tqdm import tqdm

from tcae.cli import command
from tcae.cli.progress import say
from tcae.data.crops import Cropper
from tcae.data.detectors import DETECTORS
from tcae.data.sources import Source, find_sources
from tcae.data.video import VideoError, estimated_frames
from tcae.evaluation.extraction import SUCCESS, Extractor
from tcae.evaluation.linear_probe import load_probe
from tcae.evaluation.table import TableWriter, check_table_path
from tcae.methods.method import Material
from tcae.methods.registry import face_encoder

log = logging.getLogger("tcae.extract")  # not __name__, which is __main__ here


@dataclass(frozen=True)
class ExtractOptions:
    """Write a table with a row for each frame and face of the given videos.

    Columns: video, frame, timestamp, face_id, confidence, success, named as in OpenFace; the
    embeddings au_000 ... and pose_000 ...; with --probe for each action unit AU12_c (1: present,
    else 0) and AU12_p (its probability). A frame without a face has one row, with success 0 and
    empty cells. To keep face_id and AU12_c whole numbers, read a CSV table with
    pandas.read_csv(..., dtype_backend="numpy_nullable"); a Parquet table needs no option. The exit
    status is 1 if a video could not be read in full or shows no face.
    """

    videos: Annotated[
        tyro.conf.Positional[tuple[Path, ...]],
        tyro.conf.arg(help="Videos, or folders of videos or pictures.", metavar="VIDEO..."),
    ]
    encoder: command.FaceEncoderOption
    out: Annotated[
        Path, tyro.conf.arg(help="File for the table: .csv, or .parquet (needs 'tcae[parquet]').")
    ]
    probe: command.ProbeOption = None
    embeddings: Annotated[
        Literal["au", "pose", "both", "none"],
        tyro.conf.arg(help="Embeddings to write as columns."),
    ] = "both"
    fps: Annotated[
        float | None,
        tyro.conf.arg(help="Frames to take from each second of a video file. Default: all."),
    ] = None
    tone_map: command.ToneMapOption = False
    aligned: Annotated[
        bool,
        tyro.conf.arg(help="The pictures are aligned faces already. Only resize them."),
        tyro.conf.FlagCreatePairsOff,
    ] = False
    detector: Annotated[
        str, tyro.conf.arg(help=f"Face detector: {', '.join(DETECTORS)} (needs 'tcae[faces]').")
    ] = "mtcnn"
    batch_size: command.BatchSizeOption = 64
    device: command.DeviceOption = "auto"
    overwrite: command.OverwriteOption = False


_EMBEDDINGS = {"au": ("au",), "pose": ("pose",), "both": ("au", "pose"), "none": ()}


def extract(options: ExtractOptions) -> int:
    """Run ``tcae extract`` and return its exit status."""
    _check(options)
    device = command.device_of(options.device)
    encoder = face_encoder(options.encoder, Material(None, device=device))
    probe = load_probe(options.probe, device) if options.probe else None
    extractor = Extractor(encoder, probe, _EMBEDDINGS[options.embeddings], options.batch_size)
    faces = "aligned" if options.aligned else options.detector
    config = extractor.crop_config(options.fps, faces)
    cropper = Cropper(replace(config, tone_mapped=options.tone_map))
    with TableWriter(options.out, extractor.columns) as table:
        sources, failed = _sources(options.videos)
        for source in sources:
            failed += not _extract_video(source, cropper, extractor, table, options.fps)
        if not table.rows:
            raise ValueError(f"no frame could be read, so {options.out} is not written")
    say(f"{options.out}: {table.rows} rows")
    return command.SOME_FAILED if failed else command.DONE


def _check(options: ExtractOptions) -> None:
    """Refuse wrong options before anything is loaded."""
    if not options.videos:
        raise ValueError("VIDEO: none given, at least one is needed")
    check_table_path(options.out)
    command.check_out_file(options.out, options.overwrite)
    if options.fps is not None and not 0 < options.fps < float("inf"):
        raise ValueError(f"--fps must be positive, not {options.fps}")
    if options.batch_size < 1:
        raise ValueError(f"--batch-size must be at least 1, not {options.batch_size}")


def _sources(paths: Sequence[Path]) -> tuple[list[Source], int]:
    """Return the videos at the given paths, and the number of paths without any."""
    sources, failed = [], 0
    for path in paths:
        try:
            sources += find_sources(path)
        except ValueError as error:
            log.warning("%s", error)
            failed += 1
    return sources, failed


def _extract_video(
    source: Source, cropper: Cropper, extractor: Extractor, table: TableWriter, fps: float | None
) -> bool:
    """Add the rows of one video. Return whether it could be read in full and shows a face."""
    total = estimated_frames(source.path, fps) if source.is_file else source.size()
    before, faces = table.rows, 0
    with tqdm(total=total, desc=source.path.name, unit="frame", disable=None) as bar:
        try:
            for rows in extractor.rows(str(source.path), cropper(source), bar.update):
                table.write(rows)
                faces += sum(row[SUCCESS] for row in rows)
        except VideoError as error:
            log.warning("%s", error)
            return False
    if not faces:
        log.warning("%s: no face in it", source.path)
        return False
    say(f"{source.path}: {table.rows - before} rows, {faces} faces")
    return True


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; ``argv`` defaults to the command line."""
    return command.run(extract, ExtractOptions, prog="tcae.extract", argv=argv)


if __name__ == "__main__":
    sys.exit(main())
