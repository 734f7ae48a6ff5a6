"""Compare the rendered world with real faces, as a landmarker trained on real faces sees both.

    python tools/world_scores [CLIP.mp4 ...] [--faces 400] [--side 256]

Needs the extra [landmarker]. The first table holds MediaPipe's 52 blendshape scores, each with its
10, 50 and 90 % points over rendered frames and, if clips are given, over their frames. The second
one holds the mean scores of faces at rest and of each action unit at full intensity. Where the
world is off is read from the first, which muscle moves wrongly from the second.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tcae.data.sources import find_sources
from tcae.data.synthetic.camera import CameraConfig
from tcae.data.synthetic.expression import ACTION_UNITS
from tcae.data.synthetic.world import Video, World
from tcae.evaluation.landmarker import Detect, blendshapes, face_landmarker

Scores = Mapping[str, float]
PEOPLE = 16
_TOGETHER = (("AU01", "AU02"), ("AU01", "AU04"), ("AU06", "AU12"), ("AU06", "AU12", "AU25"),
             ("AU25", "AU26"))  # fmt: skip
_SHOWN = ("browInnerUp", "browOuterUp", "browDown", "eyeBlink", "eyeSquint", "eyeWide",
          "eyeLookDown", "jawOpen", "mouthSmile", "mouthUpperUp", "mouthLowerDown",
          "mouthShrugLower", "mouthStretch", "mouthFrown", "mouthPucker", "mouthFunnel",
          "mouthPress")  # fmt: skip
_CLEAN = CameraConfig(blur=0, coarse=0, noise=0, exposure=0, tint=0, compression=100)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="*", type=Path, help="videos of real faces, or folders")
    parser.add_argument("--faces", type=int, default=400, help="rendered frames to look at")
    parser.add_argument("--side", type=int, default=256, help="side of the renders in pixels")
    parser.add_argument("--seed", type=int, default=0, help="seed of the world")
    options = parser.parse_args()
    world = World(image_size=options.side, seed=options.seed)
    with face_landmarker() as detect:
        columns = {"rendered": _scores(detect, _frames(world, options.faces))}
        if options.clips:
            columns["real"] = _scores(detect, _real(options.clips))
        print(_quantiles(columns))
        still = World(image_size=options.side, seed=options.seed, camera=_CLEAN)
        print(_responses(detect, [still.video(person, 0) for person in range(PEOPLE)]))


def _frames(world: World, count: int) -> Iterator[NDArray[np.uint8]]:
    """Yield one frame of each of `count` people, as the camera delivers it."""
    for person in range(count):
        video = world.video(person, 0)
        frame = person % len(video)
        yield video.picture(video.state(frame), frame)


def _real(paths: Iterable[Path]) -> Iterator[NDArray[np.uint8]]:
    for path in paths:
        for source in find_sources(path):
            yield from (frame.rgb for frame in source.read(fps=5))


def _scores(detect: Detect, pictures: Iterable[NDArray[np.uint8]]) -> list[Scores]:
    """Return the scores of the pictures in which a face is found."""
    found = (blendshapes(detect(_bordered(picture))) for picture in pictures)
    return [scores for scores in found if scores is not None]


def _bordered(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a crop with a border: the landmarker's detector expects room around a face."""
    if picture.shape[0] != picture.shape[1]:
        return picture
    border = [len(picture) // 4] * 4
    return cv2.copyMakeBorder(picture, *border, cv2.BORDER_REPLICATE)  # type: ignore[return-value]


def _quantiles(columns: Mapping[str, list[Scores]]) -> str:
    counts = ", ".join(f"{len(scores)} {name}" for name, scores in columns.items())
    lines = [f"faces found: {counts}; 10, 50 and 90 % points", ""]
    for shape in sorted(next(iter(columns.values()))[0]):
        cells = []
        for name, scores in columns.items():
            points = np.quantile([face[shape] for face in scores], [0.1, 0.5, 0.9])
            cells.append(f"{name} " + " ".join(f"{point:.2f}" for point in points))
        lines.append(f"{shape:22}" + "   ".join(cells))
    return "\n".join(lines)


def _responses(detect: Detect, people: list[Video]) -> str:
    """Return the mean scores of faces at rest and of faces that show one unit, or a few."""
    shown = [(), *((unit,) for unit in ACTION_UNITS), *_TOGETHER]
    lines = ["", f"means over {len(people)} people, units at full intensity", ""]
    lines += [" " * 15 + " ".join(f"{name:>9}" for name in _SHOWN)]
    for units in shown:
        faces = _scores(detect, (_acting(video, units) for video in people))
        means = [np.mean([_sides(face, name) for face in faces]) for name in _SHOWN]
        title = "+".join(unit[2:] for unit in units) or "at rest"
        lines.append(
            f"{title:15}"
            + " ".join(
                f"{mean:{max(len(name), 9)}.2f}" for name, mean in zip(_SHOWN, means, strict=True)
            )
        )
    return "\n".join(lines)


def _acting(video: Video, units: Iterable[str]) -> NDArray[np.uint8]:
    """Return the picture of a face from the front that shows some units."""
    state = video.neutral()
    intensities = state.intensities.copy()
    intensities[[ACTION_UNITS.index(unit) for unit in units]] = 1
    return video.scene(state._replace(intensities=intensities))


def _sides(face: Scores, shape: str) -> float:
    """Return a score, or the mean of both sides."""
    values = [face[name] for name in (shape, f"{shape}Left", f"{shape}Right") if name in face]
    return float(np.mean(values))


if __name__ == "__main__":
    main()
