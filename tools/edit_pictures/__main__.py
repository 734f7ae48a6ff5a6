"""Draw the pictures of docs/edit.md: rendered people, edited by the weights that ship.

    python tools/edit_pictures     # writes docs/edit-units.jpg and docs/edit-driven.jpg

The weights were not fitted to these people. They were picked by eye, for variety.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tcae.data.synthetic.camera import CameraConfig
from tcae.data.synthetic.world import State, Video, World
from tcae.editing.editor import FaceEditor, Portrait

Picture = NDArray[np.uint8]

ROOT = Path(__file__).resolve().parents[2]
_SIDE, _CAPTION = 200, 34
_CLEAN = CameraConfig(blur=0, coarse=0, noise=0, exposure=0, tint=0, compression=100)
_WORLD = World(image_size=256, seed=5, camera=_CLEAN)
_PEOPLE, _SOURCE, _DRIVER = (1, 6, 12), 6, 3
_UNITS: dict[str, dict[str, float]] = {
    "source": {},
    "AU12": {"AU12": 1.0},
    "AU1 + AU2": {"AU01": 1.0, "AU02": 1.0},
    "AU4": {"AU04": 1.0},
    "AU25 + AU26": {"AU25": 1.0, "AU26": 1.0},
    "AU45": {"AU45": 1.0},
}
_TURNS = {"yaw +20": (0, 20, 0), "yaw -20": (0, -20, 0), "roll +12": (0, 0, 12)}


def units(editor: FaceEditor) -> Picture:
    """Return people with one unit or two at full intensity, and with turned heads."""
    rows = []
    for person in _PEOPLE:
        video = _WORLD.video(person, 0)
        face = _portrait(editor, video, video.neutral())
        tiles = [editor(face, aus) for aus in _UNITS.values()]
        tiles += [editor(face, pose=np.add(face.pose, turn)) for turn in _TURNS.values()]
        rows.append(tiles)
    return _sheet(rows, [*_UNITS, *_TURNS])


def driven(editor: FaceEditor) -> Picture:
    """Return frames of one person, and another person with their action units, and their pose."""
    video, other = _WORLD.video(_DRIVER, 0), _WORLD.video(_SOURCE, 0)
    face = _portrait(editor, other, other.neutral())
    drivers = [_portrait(editor, video, video.state(frame)) for frame in range(0, 18, 2)]
    rows = [
        [driver.picture for driver in drivers],
        [editor(face, aus=driver) for driver in drivers],
        [editor(face, aus=driver, pose=driver) for driver in drivers],
    ]
    return _sheet(rows, [""] * len(drivers))


def _portrait(editor: FaceEditor, video: Video, state: State) -> Portrait:
    return editor.portrait(video.scene(state), video.points(state))


def _sheet(rows: Sequence[Sequence[Picture]], captions: Sequence[str]) -> Picture:
    """Return a sheet of pictures with captions over the columns."""
    top = _CAPTION * any(captions)
    sheet = np.full((top + len(rows) * _SIDE, len(captions) * _SIDE, 3), 255, np.uint8)
    for column, caption in enumerate(captions):
        at = (column * _SIDE + 8, top - 10)
        if caption:
            cv2.putText(sheet, caption, at, (31, 35, 40), cv2.FontFace("sans"), 20, 600)
        for row, tiles in enumerate(rows):
            tile = cv2.resize(tiles[column], (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
            place = slice(top + row * _SIDE, top + (row + 1) * _SIDE)
            sheet[place, column * _SIDE : (column + 1) * _SIDE] = tile
    return sheet


def main() -> None:
    """Draw both pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder to write to")
    folder = parser.parse_args().out
    editor = FaceEditor.load()
    for name, draw in {"edit-units": units, "edit-driven": driven}.items():
        sheet = cv2.cvtColor(draw(editor), cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(folder / f"{name}.jpg"), sheet, [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == "__main__":
    main()
