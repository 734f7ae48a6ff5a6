"""``python -m tcae.pack``: find the faces in videos, align them and pack them for training."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from tqdm import tqdm

from tcae.cli import command
from tcae.cli.displays import PackDisplay
from tcae.data.align import DEFAULT_TEMPLATE
from tcae.data.au_sets.readers import READERS, SetName
from tcae.data.au_sets.recordings import LabelledSet, LabelOptions, read_set
from tcae.data.au_sets.tables import write_tables
from tcae.data.crops import CropConfig, Landmarks, read_landmarks
from tcae.data.detectors import DETECTORS, make_detector
from tcae.data.labels import LABELS
from tcae.data.merging import merge
from tcae.data.pack_parts import WHOLE, Part
from tcae.data.pack_worker import VideoRow
from tcae.data.packing import MANIFEST, pack_videos, remove_pack
from tcae.data.sources import Source, find_sources, join_sources
from tcae.data.verify import shard_bytes, verify
from tcae.files.csv_text import encoding_hint

log = logging.getLogger("tcae.pack")  # __name__ is __main__ when run as a command


@dataclass(frozen=True)
class PackOptions:
    """Find, track and align the faces in videos and pack them for training.

    Started again, the command continues the data set at --out: it skips videos that are packed
    already. A line in OUT/manifest.csv says what became of each video. The exit status is 1 if a
    video could not be read in full or shows no face. With --dataset the command also writes
    labels.csv and folds.csv, for tcae.probe. With --verify DIR instead of all other options it
    checks the packed data set DIR. --merge DIR DIR --out DIR makes one data set of several.
    """

    sources: Annotated[
        tyro.conf.Positional[tuple[Path, ...]],
        tyro.conf.arg(
            help="Videos, pictures, and folders of videos or pictures. In a folder, videos are "
            "<clip>.mp4, <id>/<clip>.mp4 or <id>/<video>/<clip>.mp4, and pictures are "
            "<id>/*.jpg, <id>/<video>/*.jpg or <id>/<video>/<track>/*.jpg: one track of one "
            "person. A picture that is named itself is a still, of which every face is a track. "
            "VoxCeleb1 and VoxCeleb2 are read as they are distributed.",
            metavar="PATH...",
            help_behavior_hint="(required)",
        ),
    ]
    out: command.OutOption
    dataset: Annotated[
        SetName | None,
        tyro.conf.arg(help="PATH holds this data set as it is distributed: pack its labels too."),
    ] = None
    label_options: Annotated[LabelOptions, tyro.conf.arg(name="")] = field(
        default_factory=LabelOptions
    )
    fps: Annotated[
        float | None,
        tyro.conf.arg(
            help="Frames to take from each second of a video file. Default: 1, with --dataset "
            "every frame. Pictures are always all taken."
        ),
    ] = None
    image_size: Annotated[int, tyro.conf.arg(help="Side of the packed faces in pixels.")] = 256
    workers: Annotated[int, tyro.conf.arg(help="Number of worker processes.")] = os.cpu_count() or 1
    tone_map: command.ToneMapOption = False
    aligned: Annotated[
        bool,
        tyro.conf.arg(help="The pictures are aligned faces already. Only resize them."),
        tyro.conf.FlagCreatePairsOff,
    ] = False
    landmarks: Annotated[
        Path | None,
        tyro.conf.arg(
            help="CSV file of faces found beforehand, to be used instead of a detector. Columns: "
            "video,frame,left_eye_x,left_eye_y,right_eye_x,right_eye_y,nose_x,nose_y,left_mouth_x,"
            "left_mouth_y,right_mouth_x,right_mouth_y, optionally track,confidence. video is the "
            "file's path below PATH, frame counts from 0."
        ),
    ] = None
    detector: Annotated[
        str, tyro.conf.arg(help=f"Face detector: {', '.join(DETECTORS)} (needs 'tcae[faces]').")
    ] = "mtcnn"
    part: Annotated[
        str | None,
        tyro.conf.arg(
            help="Pack the K-th of N parts of the videos. Packers of all parts may write to the "
            "same --out at the same time, on several machines.",
            metavar="K/N",
        ),
    ] = None
    overwrite: command.OverwriteOption = False


def pack(options: PackOptions) -> int:
    """Run ``tcae pack`` and return its exit status."""
    started = time.monotonic()
    config, part = _crop_config(options), _part(options)
    landmarks = read_landmarks(options.landmarks) if options.landmarks else None
    labelled = _read_labelled(options, landmarks or {})
    if labelled is None:
        sources = join_sources(map(find_sources, options.sources))
    else:
        sources = [recording.source for recording in labelled.recordings]
    _tell_of_unknown(options.landmarks, landmarks or {}, sources)
    if options.overwrite:
        remove_pack(options.out)
    count = sum(part.holds(source.name) for source in sources)
    with PackDisplay(count, "tcae.pack") as display:
        rows = pack_videos(
            sources,
            options.out,
            config,
            workers=options.workers,
            landmarks=landmarks,
            report=display.report,
            part=part,
        )
    summary = _summary(rows)
    print(
        f"{options.out}: {summary['faces']} faces in {summary['tracks']} tracks of "
        f"{summary['videos_packed']} videos; {MANIFEST} tells of all {len(rows)}"
    )
    if labelled is not None:
        counts = write_tables(options.out, labelled, rows)
        summary |= counts.summary()
        print(counts.text())
    summary["seconds"] = round(time.monotonic() - started, 3)
    text = json.dumps(summary, indent=1) + "\n"
    name = "summary.json" if part == WHOLE else f"summary-{part.name}.json"
    (options.out / name).write_text(text, encoding="utf-8")
    return command.DONE if summary["videos_packed"] == len(rows) else command.SOME_FAILED


@dataclass(frozen=True)
class VerifyOptions:
    """Compare every picture and index of a packed data set with its checksum. Write nothing.

    Each damaged or missing thing is a line on stderr, and makes the exit status 1.
    """

    verify: Annotated[Path, tyro.conf.arg(help="The packed data set.")]


def verify_set(options: VerifyOptions) -> int:
    """Run ``tcae pack --verify`` and return its exit status."""
    size = shard_bytes(options.verify)
    with tqdm(total=size, unit="B", unit_scale=True, disable=None) as bar:
        found = verify(options.verify, bar.update)
    for line in found.damages:
        log.warning("%s", line)
    state = f"{len(found.damages)} damages" if found.damages else "no damage"
    print(f"{options.verify}: {found.frames} frames in {found.shards} shards are whole; {state}")
    return command.SOME_FAILED if found.damages else command.DONE


@dataclass(frozen=True)
class MergeOptions:
    """Make one packed data set of several, of hard links: nothing is copied or packed again.

    All must have been packed with the same settings, and no video may be in two of them.
    """

    merge: Annotated[tuple[Path, ...], tyro.conf.arg(help="The packed data sets.")]
    out: command.OutOption


def merge_sets(options: MergeOptions) -> int:
    """Run ``tcae pack --merge`` and return its exit status."""
    shards = merge(options.merge, options.out)
    print(f"{options.out}: {shards} shards of {len(options.merge)} data sets")
    return command.DONE


def _tell_of_unknown(
    table: Path | None, landmarks: Mapping[str, Landmarks], sources: Sequence[Source]
) -> None:
    """Name a video of the landmarks that is not there."""
    unknown = list(landmarks.keys() - {source.key for source in sources})
    if unknown:
        log.warning(
            "%s: %d of its %d videos are not there, as %s%s",
            *(table, len(unknown), len(landmarks), min(unknown), encoding_hint(unknown)),
        )


def _part(options: PackOptions) -> Part:
    """Return the part of the sources to pack."""
    if options.part is None:
        return WHOLE
    if options.dataset is not None or options.overwrite:
        raise ValueError("--part and --dataset or --overwrite exclude each other")
    return Part.parse(options.part)


def _crop_config(options: PackOptions) -> CropConfig:
    """Return how to find and cut out faces. Refuse wrong options before anything is written."""
    if not options.sources:
        raise ValueError("PATH: none given, at least one is needed")
    if options.dataset is not None and len(options.sources) > 1:
        raise ValueError(f"--dataset: {len(options.sources)} PATHs given, it needs a single one")
    if options.aligned and options.landmarks:
        raise ValueError("--aligned and --landmarks exclude each other")
    if not 16 <= options.image_size <= 2048:
        raise ValueError(f"--image-size must be from 16 to 2048, not {options.image_size}")
    if options.fps is not None and options.dataset is not None:
        raise ValueError("--fps and --dataset exclude each other: every labelled frame is taken")
    if options.fps is not None and not 0 < options.fps < float("inf"):
        raise ValueError(f"--fps must be positive, not {options.fps}")
    if options.workers < 1:
        raise ValueError(f"--workers must be at least 1, not {options.workers}")
    faces = options.detector
    if options.aligned or options.landmarks:
        faces = "aligned" if options.aligned else "landmarks"
    else:
        make_detector(faces)
    fps = options.fps or (1.0 if options.dataset is None else None)
    return CropConfig(
        options.image_size, DEFAULT_TEMPLATE, fps, faces, options.dataset, options.tone_map
    )


def _read_labelled(options: PackOptions, landmarks: Mapping[str, Landmarks]) -> LabelledSet | None:
    """Return the labelled videos at SOURCE, checked before any writing. None without --dataset."""
    if options.dataset is None:
        if options.label_options != LabelOptions():
            raise ValueError("options of labels need --dataset")
        return None
    there = options.out / LABELS
    if there.exists() and not (options.out / "dataset.json").exists() and not options.overwrite:
        raise ValueError(f"{there}: is there already; --overwrite replaces it")
    reader = READERS[options.dataset](options.label_options)
    labelled = read_set(reader, options.sources[0], options.label_options.labels)
    for key in [recording.source.key for recording in labelled.recordings]:
        for frame, faces in landmarks.get(key, {}).items():
            if len(faces) > 1:
                raise ValueError(
                    f"{options.landmarks}: {len(faces)} faces in frame {frame} of {key}; with "
                    "--dataset only the subject's"
                )
    return labelled


def _summary(rows: list[VideoRow]) -> dict[str, float]:
    def count(status: str) -> int:
        return sum(row.status == status for row in rows)

    return {
        "videos": len(rows),
        "videos_packed": count("packed"),
        "videos_without_face": count("no face"),
        "videos_damaged": count("damaged"),
        "videos_failed": count("failed"),
        "frames": sum(row.frames for row in rows),
        "faces": sum(row.faces for row in rows),
        "tracks": sum(row.tracks for row in rows),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; ``argv`` defaults to the command line."""
    words = sys.argv[1:] if argv is None else argv
    if any(word.partition("=")[0] == "--verify" for word in words):
        return command.run(verify_set, VerifyOptions, prog="tcae.pack", argv=words)
    if any(word.partition("=")[0] == "--merge" for word in words):
        return command.run(merge_sets, MergeOptions, prog="tcae.pack", argv=words)
    return command.run(pack, PackOptions, prog="tcae.pack", argv=words)


if __name__ == "__main__":
    sys.exit(main())
