"""``python -m tcae.show``: show a table of faces as a video with marks and a page with curves."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from tcae.analyse import AnalyseOptions, analyse
from tcae.cli import command
from tcae.cli.displays import FrameDisplay
from tcae.cli.progress import say
from tcae.cli.signals import terminations_as_interrupts
from tcae.data.sources import Source, find_sources
from tcae.files.durable import write_durably
from tcae.report.face_table import FaceTable, read_face_table
from tcae.report.marked_pictures import MarkedPictures
from tcae.report.overlay_video import OverlayVideo
from tcae.report.picture_page import picture_page
from tcae.report.video_page import video_page

log = logging.getLogger("tcae.show")  # not __name__, which is __main__ here


@dataclass(frozen=True)
class ShowOptions:
    """Show a table of faces: a video with the faces marked, and a page with their curves.

    Of talk.mp4 it writes talk-faces.mp4, with box, points and action units of each face, and
    talk.html, a page that needs no other file: a curve for every action unit, a click on which
    takes the video there, the list of events, and the table. Of a picture it writes face-faces.jpg
    and face.html, of a folder of pictures a folder of them and a page. The exit status is 1 if not
    all of the input could be read.
    """

    input: Annotated[
        tyro.conf.Positional[Path],
        tyro.conf.arg(help="A video, a picture, or a folder of pictures.", metavar="INPUT"),
    ]
    table: Annotated[
        tyro.conf.Positional[Path | None],
        tyro.conf.arg(
            help="Its table, .csv or .parquet. Default: talk.csv of talk.mp4, in the folder of the "
            "results, in the working directory or beside the video; if there is none, tcae analyse "
            "makes it.",
            metavar="TABLE",
        ),
    ] = None
    out: Annotated[
        Path, tyro.conf.arg(help="Folder for the results. Default: the working directory.")
    ] = Path()
    tone_map: command.ToneMapOption = False
    overwrite: command.OverwriteOption = False


def show(options: ShowOptions) -> int:
    """Run ``tcae show`` and return its exit status."""
    source = _source(options.input)
    name = options.input.stem if options.input.is_file() else options.input.resolve().name
    folder = options.out
    page = folder / f"{name}.html"
    ending = ".mp4" if source.is_file else ".jpg" if source.stills else ""
    marked = folder / f"{name}-faces{ending}"
    _check_free(page, options.overwrite)
    _check_free(marked, options.overwrite)
    files = [source.path] if source.is_file else source.pictures()
    table = read_face_table(_table(options, name, folder), files)
    folder.mkdir(parents=True, exist_ok=True)
    if source.is_file:
        failure = _show_video(source, table, marked, page, options.tone_map)
    else:
        failure = _show_pictures(source, table, marked, page, options.tone_map)
    say(f"{marked}\n{page}")
    if failure is None:
        return command.DONE
    log.warning("%s", failure)
    return command.SOME_FAILED


def _source(path: Path) -> Source:
    if path.suffix in (".csv", ".parquet"):
        raise ValueError(
            f"{path}: is a table; give the video or the pictures first, then the table"
        )
    sources = find_sources(path)
    if len(sources) > 1 or (path.is_dir() and sources[0].path != path):
        raise ValueError(
            f"{path}: holds {sources[0].key}{' and more' if len(sources) > 1 else ''}; give one "
            "video, one picture or one folder of pictures"
        )
    return sources[0]


def _check_free(path: Path, overwrite: bool) -> None:
    """Refuse to replace an earlier result without --overwrite."""
    if path.exists() and not overwrite:
        raise ValueError(f"{path}: already there; give --overwrite, or another folder by --out")


def _table(options: ShowOptions, name: str, folder: Path) -> Path:
    """Return the table that was given, or the one of that name, or make it."""
    if options.table is not None:
        return options.table
    for place in (folder, Path(), options.input.resolve().parent):
        for ending in (".csv", ".parquet"):
            if (table := place / f"{name}{ending}").exists():
                return table
    table = folder / f"{name}.csv"
    say(f"no {table.name} yet: analysing {options.input}")
    folder.mkdir(parents=True, exist_ok=True)
    analyse(AnalyseOptions((str(options.input),), table, tone_map=options.tone_map))
    return table


def _show_video(
    source: Source, table: FaceTable, film: Path, page: Path, tone_map: bool
) -> str | None:
    """Write the film and the page. Return what was wrong with the video, None if nothing was."""
    video = OverlayVideo(source.path, table, tone_map)
    _watch(source, video.write(film))
    _write(page, video_page(source.path, table, film, video.shape, video.seconds))
    return video.failure


def _show_pictures(
    source: Source, table: FaceTable, marked: Path, page: Path, tone_map: bool
) -> str | None:
    """Write the pictures and the page. Return what was wrong with them, None if nothing was."""
    pictures = MarkedPictures(source, table, tone_map)
    _watch(source, pictures.write(marked))
    beside = os.path.relpath(table.path, page.parent)
    title = source.path.resolve().name
    _write(page, picture_page(title, table, pictures.shown, beside))
    return pictures.failure


def _write(page: Path, text: str) -> None:
    write_durably(page, text.encode("utf-8", "surrogateescape"))  # names may be in any encoding


def _watch(source: Source, frames: Iterator[int]) -> None:
    """Go through the frames, telling how far they are."""
    display = FrameDisplay("tcae.show", None)
    display.begin(source, 0)
    try:
        with terminations_as_interrupts(), closing(frames):  # type: ignore[type-var]
            for _ in frames:
                display.advance(1)
    finally:
        display.close()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; ``argv`` defaults to the command line."""
    return command.run(show, ShowOptions, prog="tcae.show", argv=argv)


if __name__ == "__main__":
    sys.exit(main())
