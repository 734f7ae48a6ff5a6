from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from tcae.data.synthetic.world import Video, World
from tcae.editing.editor import FaceEditor, Portrait

BORDER = 30


@pytest.fixture(scope="session")
def editor() -> FaceEditor:
    """The editor that ships."""
    return FaceEditor.load()


@pytest.fixture(scope="session")
def person() -> Callable[[int], Video]:
    """Function that gives a rendered person whom nothing was fitted to."""
    world = World(image_size=192, seed=77, videos=1)
    return lambda number: world.video(number, 0)


@pytest.fixture(scope="session")
def portrait(editor, person) -> Callable[..., Portrait]:
    """Function that gives a person's face at rest, or in a state, with a border around it."""

    def make(number: int, state=None, border: int = BORDER) -> Portrait:
        video = person(number)
        state = video.neutral() if state is None else state
        picture = cv2.copyMakeBorder(video.scene(state), *[border] * 4, cv2.BORDER_REPLICATE)
        return editor.portrait(np.asarray(picture), video.points(state) + border)

    return make
