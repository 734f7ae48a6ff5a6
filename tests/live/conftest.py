from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest

from tcae.data.synthetic.world import World
from tcae.data.video_writer import VideoWriter


@pytest.fixture(scope="session")
def answers(detector: None):
    """The answers of the weights that ship."""
    from tcae.live.answers import Answers

    return Answers()


@pytest.fixture(scope="session")
def address(answers) -> str:
    """Where the page is, on a server that runs as long as the tests do."""
    from tcae.live.server import Application, address_of, listen, serve

    heard = listen(0)
    threading.Thread(target=serve, args=(Application(answers), heard), daemon=True).start()
    return address_of(heard)


def png(rgb: np.ndarray) -> bytes:
    return cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].tobytes()


@pytest.fixture(scope="session")
def scenes() -> Callable[[int], list[np.ndarray]]:
    """Function that gives ten pictures (240, 320, 3) of a rendered person whom detectors see."""
    world = World(image_size=192, seed=77, videos=1, frames=30, fps=10)

    @cache
    def make(person: int) -> list[np.ndarray]:
        video = world.video(person, 0)
        states = [video.state(frame) for frame in range(10)]
        borders = 24, 24, 64, 64
        return [
            np.asarray(cv2.copyMakeBorder(video.scene(state), *borders, cv2.BORDER_REPLICATE))
            for state in states
        ]

    return make


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory, scenes: Callable) -> Path:
    """Folder of files with rendered people.

    face.png shows a person, two.png a large and a small one, none.png nobody, broken.png nothing.
    talk.mp4 is a video for browsers, talk.avi one that they do not play, and camera.mjpeg what a
    camera sees.
    """
    folder = tmp_path_factory.mktemp("files")
    frames = scenes(3)
    small = cv2.resize(scenes(5)[0][:, 40:280], (120, 120), interpolation=cv2.INTER_AREA)
    two = np.full((240, 440, 3), 90, np.uint8)
    two[:, :320], two[60:180, 320:] = frames[0], small
    (folder / "face.png").write_bytes(png(frames[0]))
    (folder / "two.png").write_bytes(png(two))
    (folder / "none.png").write_bytes(png(np.full((240, 320, 3), 90, np.uint8)))
    (folder / "broken.png").write_bytes(png(frames[0])[:5000])
    with VideoWriter(folder / "talk.mp4", 240, 320) as film:
        for number in range(40):
            film.write(frames[number // 4], number / 10)
    (folder / "talk.avi").write_bytes(b"RIFF\0\0\0\0AVI LIST")
    seen = [cv2.imencode(".jpg", rgb[..., ::-1])[1].tobytes() for rgb in frames]
    (folder / "camera.mjpeg").write_bytes(b"".join(seen))
    return folder
