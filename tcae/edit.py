"""``python -m tcae.edit``: change the action units and the pose of a face in a picture or video."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import tyro
from numpy.typing import NDArray

from tcae.cli import command
from tcae.cli.displays import FrameDisplay
from tcae.cli.progress import say
from tcae.cli.signals import terminations_as_interrupts
from tcae.data.pictures import encode_jpeg
from tcae.data.sources import find_sources, is_picture
from tcae.data.video_writer import VideoWriter
from tcae.editing.editor import FaceEditor
from tcae.editing.portraits import Portraits
from tcae.files.durable import write_durably

log = logging.getLogger("tcae.edit")  # not __name__, which is __main__ here

Picture = NDArray[np.uint8]

_PICTURES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_VIDEO = ".mp4"


@dataclass(frozen=True)
class EditOptions:
    """Change the action units and the pose of the face in a picture or a video.

    The face moves and nothing is painted: what the source does not show, such as teeth behind
    closed lips, an edit cannot show either. Of several faces the largest one is edited. A picture
    with --au-from VIDEO makes a video. A video is edited frame by frame. docs/edit.md tells how
    well each action unit works.
    """

    source: Annotated[
        tyro.conf.Positional[Path], tyro.conf.arg(help="Picture or video.", metavar="SOURCE")
    ]
    out: Annotated[
        Path, tyro.conf.arg(help="File for the result: a picture, as .png, or .mp4 for a video.")
    ]
    au: Annotated[
        tuple[str, ...],
        tyro.conf.arg(
            help="Action units and the intensities that they shall have, from 0 to 1; the others "
            "stay.",
            metavar="AU12=1.0 ...",
        ),
    ] = ()
    au_from: Annotated[
        Path | None,
        tyro.conf.arg(help="Picture or video of a face whose action units the source takes over."),
    ] = None
    pose: Annotated[
        tuple[float, float, float] | None,
        tyro.conf.arg(
            help="Degrees: a positive pitch lowers the nose, a positive yaw turns it to the right "
            "of the picture, a positive roll is clockwise.",
            metavar="PITCH YAW ROLL",
        ),
    ] = None
    pose_from: Annotated[
        Path | None,
        tyro.conf.arg(help="Picture or video of a face whose pose the source takes over."),
    ] = None
    weights: Annotated[
        Path,
        tyro.conf.arg(help="Weights that edit: the name of some that ship, or a directory."),
    ] = Path("synthetic-64")
    overwrite: command.OverwriteOption = False


def edit(options: EditOptions) -> int:
    """Run ``tcae edit`` and return its exit status."""
    given = (options.source, options.au_from, options.pose_from)
    films = [path for path in given if path is not None and not is_picture(path.name)]
    aus = _check(options, bool(films))
    editor = FaceEditor.load(options.weights)
    editor.check(aus)
    if lines := editor.weaknesses(aus or (editor.units if options.au_from else ())):
        log.warning("%s; see docs/edit.md", lines)
    people = {path: Portraits(editor, path) for path in given if path is not None}
    source, actor, model = (None if path is None else people[path] for path in given)
    assert source is not None

    def edited() -> Picture:
        """Return the present picture."""
        if source.now.face is None:
            return source.now.picture
        return editor(
            source.now.face,
            aus if actor is None else actor.face,
            options.pose if model is None else model.face,
        )

    if films:
        _write_video(options.out, films[0], people, edited)
    else:
        picture = edited()
        write_durably(options.out, _encoded(picture, options.out))
        say(f"{options.out}: {picture.shape[1]}x{picture.shape[0]} pixels")
    return command.SOME_FAILED if any(p.failed for p in people.values()) else command.DONE


def _check(options: EditOptions, video: bool) -> dict[str, float]:
    """Refuse wrong options before anything is loaded, and return what --au asks for."""
    aus = dict(map(_wish, options.au))
    if aus and options.au_from:
        raise ValueError("--au and --au-from exclude each other")
    if options.pose and options.pose_from:
        raise ValueError("--pose and --pose-from exclude each other")
    if not (aus or options.au_from or options.pose or options.pose_from):
        raise ValueError("nothing to do: give --au, --au-from, --pose or --pose-from")
    wanted = (_VIDEO,) if video else _PICTURES
    if options.out.suffix.lower() not in wanted:
        kind = "video" if video else "picture"
        raise ValueError(f"--out {options.out}: a {kind} comes out, so need {', '.join(wanted)}")
    command.check_out_file(options.out, options.overwrite)
    return aus


def _wish(word: str) -> tuple[str, float]:
    """Return the unit and the intensity of a word of --au."""
    unit, _, value = word.partition("=")
    try:
        return unit.upper(), float(value)
    except ValueError:
        raise ValueError(f"--au {word}: need a unit and its intensity, as AU12=1.0") from None


def _write_video(
    out: Path, leads: Path, people: Mapping[Path, Portraits], edited: Callable[[], Picture]
) -> None:
    """Write a video with the times and the sound of one of the inputs, until the first one ends.

    Raises:
        ValueError: No frame has been edited, for the source or who drives it showed no face.
    """
    lead, (source, *_) = people[leads], people.values()
    height, width = (
        side // 2 * 2 for side in source.now.picture.shape[:2]
    )  # H.264 needs even ones
    frames = without = 0
    with (
        terminations_as_interrupts(),
        closing(FrameDisplay("tcae.edit", None)) as display,
        VideoWriter(out, height, width, leads) as video,
    ):
        display.begin(find_sources(leads)[0], 0)
        while all(person.to(lead.now.time) for person in people.values() if person is not lead):
            video.write(edited()[:height, :width], lead.now.time)
            frames += 1
            without += source.now.face is None
            display.advance(1)
            if not lead.step():
                break
        for path, person in people.items():
            if person.face is None:
                raise ValueError(f"{path}: no face was found in any of its {frames} frames")
    say(f"{out}: {frames} frames of {width}x{height} pixels")
    if without:
        log.warning("%d of %d frames show no face and stay as they are", without, frames)


def _encoded(picture: Picture, out: Path) -> bytes:
    if out.suffix.lower() in (".jpg", ".jpeg"):
        return encode_jpeg(picture)
    return cv2.imencode(out.suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; ``argv`` defaults to the command line."""
    return command.run(edit, EditOptions, prog="tcae.edit", argv=argv)


if __name__ == "__main__":
    sys.exit(main())
