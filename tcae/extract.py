"""``python -m tcae.extract``: write a table with a row for each frame and face."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from tcae.cli import command
from tcae.cli.displays import FrameDisplay
from tcae.cli.progress import say
from tcae.data.crops import Cropper
from tcae.data.detectors import DETECTORS
from tcae.data.sources import Source, find_every_source
from tcae.evaluation.analysis import Analysis, write_table
from tcae.evaluation.confidence import find_confidence
from tcae.evaluation.extraction import Extractor
from tcae.evaluation.head_pose import find_head_pose
from tcae.evaluation.linear_probe import load_probe
from tcae.evaluation.refinement_options import refined
from tcae.evaluation.table import check_table_path, partial_table
from tcae.methods.method import Material
from tcae.methods.registry import face_encoder


@dataclass(frozen=True)
class ExtractOptions:
    """Write a table with a row for each frame and face of the given videos and pictures.

    Columns: video, frame, timestamp, face_id, confidence, success, named as in OpenFace; face_x,
    face_y, face_w, face_h, the box in pixels; the embeddings au_000 ... and pose_000 ...; with
    --probe for each action unit AU12_c (1: present, else 0), AU12_p (the probability of that) and,
    if intensities were known, AU12_r (from 0 to 5). A probe that was not calibrated has AU12_score
    in their place. Pictures are stills: a column file names them, every face has a row, and face_id
    counts the faces of each picture from the largest one. A frame without a face has one row, with
    success 0 and empty cells. To keep face_id and AU12_c whole numbers, read a CSV table with
    pandas.read_csv(..., dtype_backend="numpy_nullable"); a Parquet table needs no option. The exit
    status is 1 if something could not be read in full or shows no face. If the command is stopped,
    the rows so far are in OUT.partial, and --resume goes on with them.
    """

    inputs: Annotated[
        tyro.conf.Positional[tuple[Path, ...]],
        tyro.conf.arg(
            help="Videos, pictures, and folders of videos or pictures.",
            metavar="INPUT...",
            help_behavior_hint="(required)",
        ),
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
    points: Annotated[
        bool,
        tyro.conf.arg(
            help="Write the five points of each face too: left_eye_x, left_eye_y, right_eye_x ... "
            "right_mouth_y, in pixels."
        ),
        tyro.conf.FlagCreatePairsOff,
    ] = False
    neutral: command.NeutralOption = "none"
    smooth: command.SmoothOption = 0.0
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
    resume: Annotated[
        bool,
        tyro.conf.arg(help="Go on with a table at --out that was not finished, if there is one."),
        tyro.conf.FlagCreatePairsOff,
    ] = False
    overwrite: command.OverwriteOption = False


_EMBEDDINGS = {"au": ("au",), "pose": ("pose",), "both": ("au", "pose"), "none": ()}


def extract(options: ExtractOptions) -> int:
    """Run ``tcae extract`` and return its exit status."""
    _check(options)
    sources, missing = find_every_source(options.inputs)
    extractor = _extractor(options, sources)
    faces = "aligned" if options.aligned else options.detector
    config = extractor.crop_config(options.fps, faces, tone_mapped=options.tone_map)
    cropper = Cropper(config)
    extractor, refinement = refined(extractor, cropper, options.neutral, options.smooth)
    analysis = Analysis(sources, cropper, extractor)
    with contextlib.closing(FrameDisplay("tcae.extract", options.fps)) as display:
        rows = write_table(
            analysis,
            options.out,
            display,
            resume=options.resume,
            advice="--resume goes on",
            refinement=refinement,
        )
    if refinement is not None:
        say(refinement.summary())
    say(f"{options.out}: {rows} rows")
    return command.SOME_FAILED if missing or analysis.failed else command.DONE


def _check(options: ExtractOptions) -> None:
    """Refuse wrong options before anything is loaded."""
    if not options.inputs:
        raise ValueError("INPUT: none given, at least one is needed")
    check_table_path(options.out)
    if options.fps is not None and not 0 < options.fps < float("inf"):
        raise ValueError(f"--fps must be positive, not {options.fps}")
    if options.batch_size < 1:
        raise ValueError(f"--batch-size must be at least 1, not {options.batch_size}")
    if options.resume and options.overwrite:
        raise ValueError("--resume and --overwrite exclude each other")
    partial = partial_table(options.out)
    if not partial.exists():
        command.check_out_file(options.out, options.overwrite)
    elif not options.resume and not options.overwrite:
        raise ValueError(
            f"{partial}: left by a run that was stopped; go on with --resume or start afresh with "
            "--overwrite"
        )


def _extractor(options: ExtractOptions, sources: Sequence[Source]) -> Extractor:
    device = command.device_of(options.device)
    encoder = face_encoder(options.encoder, Material(None, device=device))
    return Extractor(
        encoder,
        load_probe(options.probe, device) if options.probe else None,
        _EMBEDDINGS[options.embeddings],
        options.batch_size,
        points=options.points,
        files=not all(source.is_file for source in sources),
        head_pose=find_head_pose(options.encoder),
        confidence=find_confidence(options.encoder),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; ``argv`` defaults to the command line."""
    return command.run(extract, ExtractOptions, prog="tcae.extract", argv=argv)


if __name__ == "__main__":
    sys.exit(main())
