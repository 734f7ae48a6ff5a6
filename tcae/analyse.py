"""``python -m tcae.analyse``: write a table of what faces in videos do, by weights that ship."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from tcae.cli import command
from tcae.cli.displays import FrameDisplay
from tcae.cli.progress import say
from tcae.data.camera import camera
from tcae.data.crops import Cropper
from tcae.data.sources import find_every_source
from tcae.evaluation.analyse import (
    DETECTOR,
    column_names,
    interrupts_end_cameras,
    make_extractor,
)
from tcae.evaluation.analysis import Analysis, write_table
from tcae.evaluation.refinement_options import refined
from tcae.evaluation.table import check_table_path, partial_table


@dataclass(frozen=True)
class AnalyseOptions:
    """Write a table of the faces in videos and pictures, and of what they do.

    It has a row for each frame and face, and one for each frame without a face: file, frame,
    timestamp in seconds, face_id, confidence, success, the box and five points of the face in
    pixels, and for each action unit AU12_c (1: present, else 0), AU12_p (the probability of that)
    and AU12_r (intensity from 0 to 5). docs/analyse.md tells more. If the command is stopped,
    started again it goes on where it was. The exit status is 1 if something could not be read in
    full or shows no face.
    """

    inputs: Annotated[
        tyro.conf.Positional[tuple[str, ...]],
        tyro.conf.arg(
            help="Videos, pictures, folders of them, and numbers of cameras (0, 1 ...).",
            metavar="INPUT...",
            help_behavior_hint="(required)",
        ),
    ]
    out: Annotated[
        Path | None,
        tyro.conf.arg(
            help="File for the table: .csv, or .parquet (needs 'tcae[parquet]'). Default: in the "
            "working directory, named after the first input."
        ),
    ] = None
    encoder: command.EncoderOption = Path("detector-64")
    probe: command.ProbeOption = None
    neutral: command.NeutralOption = "none"
    smooth: command.SmoothOption = 0.0
    fps: Annotated[
        float | None,
        tyro.conf.arg(help="Frames to take from each second. Default: all."),
    ] = None
    seconds: Annotated[
        float | None,
        tyro.conf.arg(help="How long to look at a camera. Default: until Ctrl-C."),
    ] = None
    embeddings: Annotated[
        bool,
        tyro.conf.arg(help="Write the embeddings too: au_000 ... and pose_000 ..."),
        tyro.conf.FlagCreatePairsOff,
    ] = False
    tone_map: command.ToneMapOption = False
    device: command.DeviceOption = "auto"
    overwrite: command.OverwriteOption = False


def analyse(options: AnalyseOptions) -> int:
    """Run ``tcae analyse`` and return its exit status."""
    out = _checked_out(options)
    cameras = [int(word) for word in options.inputs if _is_camera(word)]
    paths = [Path(word) for word in options.inputs if not _is_camera(word)]
    with interrupts_end_cameras(bool(cameras)) as stopped:
        sources, missing = find_every_source(paths)
        sources += [camera(number, options.seconds, stopped) for number in cameras]
        device = command.device_of(options.device)
        extractor = make_extractor(options.encoder, options.probe, options.embeddings, device)
        config = extractor.crop_config(options.fps, DETECTOR, tone_mapped=options.tone_map)
        cropper = Cropper(config)
        extractor, refinement = refined(extractor, cropper, options.neutral, options.smooth)
        analysis = Analysis(sources, cropper, extractor, remarks=True)
        with contextlib.closing(FrameDisplay("tcae.analyse", options.fps)) as display:
            rows = write_table(
                analysis,
                out,
                display,
                names=column_names(extractor),
                resume=not options.overwrite,
                advice="the same command goes on",
                refinement=refinement,
            )
    if refinement is not None:
        say(refinement.summary())
    say(f"{out}: {rows} rows")
    return command.SOME_FAILED if missing or analysis.failed else command.DONE


def _checked_out(options: AnalyseOptions) -> Path:
    """Refuse wrong options before anything is loaded, and return where the table goes."""
    if not options.inputs:
        raise ValueError("INPUT: none given, at least one video, picture or folder is needed")
    for name in ("fps", "seconds"):
        value = getattr(options, name)
        if value is not None and not 0 < value < float("inf"):
            raise ValueError(f"--{name} must be positive, not {value}")
    first = options.inputs[0]
    name = f"camera-{first}" if _is_camera(first) else Path(first).resolve().stem
    out = options.out or Path(f"{name}.csv")
    check_table_path(out)
    command.check_out_file(out, options.overwrite)
    partial = partial_table(out)
    if partial.exists() and any(map(_is_camera, options.inputs)) and not options.overwrite:
        raise ValueError(
            f"{partial}: left by a run that was stopped; a camera cannot go on with it: rename it, "
            "or start afresh with --overwrite"
        )
    return out


def _is_camera(word: str) -> bool:
    return word.isdecimal() and not Path(word).exists()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; ``argv`` defaults to the command line."""
    return command.run(analyse, AnalyseOptions, prog="tcae.analyse", argv=argv)


if __name__ == "__main__":
    sys.exit(main())
