"""Rendered heads in whole pictures, turned any way, with the truth: for detector and alignment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tcae.data.pictures import decode_image, encode_jpeg
from tcae.data.synthetic.world import World

SIDE = 256
_FRAMES = 6
_SMALLEST, _LARGEST = 0.3, 0.6  # share of the picture's side that an aligned face takes


class Portraits(NamedTuple):
    """Pictures of N heads, six of each person.

    Attributes:
        jpeg: (N,) pictures of SIDE x SIDE, encoded.
        pose: (N, 3) yaw, pitch and roll in the picture, degrees.
        intensities: (N, A) of the action units of the world, in [0, 1].
        person: (N,) number of the person.
    """

    jpeg: list[bytes]
    pose: NDArray[np.float64]
    intensities: NDArray[np.float64]
    person: NDArray[np.int64]

    def picture(self, number: int) -> NDArray[np.uint8]:
        """Return a picture (SIDE, SIDE, 3) RGB."""
        rgb = decode_image(self.jpeg[number])
        assert rgb is not None
        return rgb


def portraits(world: World, people: int, seed: int, cache: Path) -> Portraits:
    """Return portraits of people of a world's kind, rendered once and kept in the cache.

    Heads turn twice as far as in the world, at most three standard deviations. Cameras are perfect.
    """
    path = cache / f"portraits-{world.seed}-{people}-{seed}.npz"
    if not path.exists():
        _render(_wide(world, seed), people, path)
    with np.load(path, allow_pickle=False) as stored:
        ends = np.cumsum(stored["length"])
        parts = np.split(stored["bytes"], ends[:-1])
        jpeg = [part.tobytes() for part in parts]
        return Portraits(jpeg, stored["pose"], stored["intensities"], stored["person"])


def _wide(world: World, seed: int) -> World:
    motion = world.motion
    return replace(
        world,
        seed=seed,
        videos=1,
        frames=_FRAMES,
        fps=0.4,
        image_size=SIDE,
        motion=replace(motion, yaw=2 * motion.yaw, pitch=2 * motion.pitch, roll=13.0),
        camera=replace(world.camera, upright=False, jitter_shift=0, jitter_scale=0, jitter_roll=0),
    )


def _render(world: World, people: int, path: Path) -> None:
    random = np.random.default_rng(world.seed)
    jpeg, pose, intensities, person = [], [], [], []
    for number in range(people):
        video = world.video(number, 0)
        for frame in range(_FRAMES):
            state, share = video.state(frame), random.uniform(_SMALLEST, _LARGEST)
            crop = state.crop * share
            crop[:, 2] += (1 - share) / 2
            jpeg.append(encode_jpeg(video.scene(state._replace(crop=crop))))
            pose.append(state.attitude)
            intensities.append(state.intensities.mean(1))
            person.append(number)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        path,
        bytes=np.frombuffer(b"".join(jpeg), np.uint8),
        length=np.array([len(content) for content in jpeg]),
        pose=np.array(pose),
        intensities=np.array(intensities),
        person=np.array(person),
    )
