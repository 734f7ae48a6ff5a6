"""Draw the picture of the README: a rendered person, seen by the weights that ship.

    python tools/front_picture              # writes docs/front.jpg
    python tools/front_picture --person 7   # another person

The weights were not trained on this person. Person, units and the rule for the two frames were
picked by eye: the calmest face that looks at the camera, and a later one with other brows and
mouth corners. Rules that allowed an open mouth showed a bulge there, which no flow can open.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from drawing import Clip, Curve, Frames, Picture, draw
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from tcae.data.synthetic.expression import ACTION_UNITS
from tcae.data.synthetic.world import World
from tcae.evaluation.linear_probe import load_probe
from tcae.measuring.trained import Trained, load_trained
from tcae_ops import warp

ROOT = Path(__file__).resolve().parents[2]
SIDE = 256
"""Of the pictures that are drawn, in pixels. The encoder sees them smaller."""
UNITS = {
    "AU01": "inner brow raiser",
    "AU04": "brow lowerer",
    "AU12": "smile",
    "AU26": "jaw drop",
    "AU45": "blink",
}


class Film(NamedTuple):
    """A rendered video of T frames.

    Attributes:
        pictures: (T, SIDE, SIDE, 3) uint8 RGB.
        times: (T,) seconds.
        intensities: (T, 21) of the action units, in [0, 1].
        poses: (T, 3) yaw, pitch and roll in degrees.
    """

    pictures: Picture
    times: NDArray[np.float64]
    intensities: NDArray[np.float64]
    poses: NDArray[np.float64]


def render(person: int, seconds: float, crop: float, fps: float = 25.0) -> Film:
    """Render a video, cut as the encoder sees faces: the centred share `crop` of each picture."""
    size = round(SIDE / crop)
    world = World(image_size=size, frames=round(seconds * fps), fps=fps)
    video = world.video(person, 0)
    states = [video.state(i) for i in range(len(video))]
    inner = slice((size - SIDE) // 2, (size - SIDE) // 2 + SIDE)
    return Film(
        np.stack([video.picture(s, i)[inner, inner] for i, s in enumerate(states)]),
        video.times,
        np.stack([s.intensities.mean(1) for s in states]),
        np.stack([s.pose for s in states]),
    )


def two_frames(film: Film) -> tuple[int, int]:
    """Return the number of a calm frame, and of a later one whose brows and smile differ most.

    In both the head is turned little. In the second the mouth and the eyes are not open and closed:
    what was hidden in the first frame, no flow can show.
    """
    turned = np.abs(film.poses[:, :2]).sum(1) / 45
    calm = int((film.intensities.sum(1) + turned)[: len(turned) // 2].argmin())
    change = np.abs(film.intensities - film.intensities[calm])
    still = [ACTION_UNITS.index(unit) for unit in ("AU01", "AU04", "AU12")]
    other = [ACTION_UNITS.index(unit) for unit in ("AU25", "AU26", "AU45")]
    score = change[:, still].sum(1) - film.intensities[:, other].sum(1) - turned
    return calm, calm + int(score[calm:].argmax())


def probabilities(trained: Trained, name: str, film: Film) -> NDArray[np.float32]:
    """Return the probabilities (T, 5) of the shown units."""
    probe = load_probe(name)
    embeddings = trained.encoder.embed(small(film.pictures, trained.encoder.image_size))
    every = probe.probabilities(embeddings.au.numpy())
    return every[:, [probe.names.index(unit) for unit in UNITS]]


def frames(trained: Trained, source: Picture, target: Picture) -> Frames:
    """Return what the model makes of two frames; its flows move the source at full size."""
    pair = small(np.stack([source, target]), trained.encoder.image_size)
    found = trained.objective.pictures(pair[:1], pair[1:])
    image = torch.from_numpy(source).permute(2, 0, 1)[None]
    flows = {"au": large(found.au_flow), "pose": large(found.pose_flow)}
    moved = {name: picture(warp(image.float() / 255, flow)) for name, flow in flows.items()}
    arrays = {name: flow[0].numpy() for name, flow in flows.items()}
    return Frames(source, target, arrays["au"], arrays["pose"], moved["au"], moved["pose"])


def small(pictures: Picture, side: int) -> Tensor:
    """Return pictures (N, S, S, 3) as the encoder gets them: (N, 3, side, side) uint8."""
    shrunk = [cv2.resize(p, (side, side), interpolation=cv2.INTER_AREA) for p in pictures]
    return torch.from_numpy(np.stack(shrunk)).permute(0, 3, 1, 2)


def large(flow: Tensor) -> Tensor:
    """Return a flow in normalised units (N, 2, S, S) as one of SIDE x SIDE in pixels."""
    size = flow.shape[-1]
    pixels = flow * ((size - 1) / 2 * SIDE / size)
    return interpolate(pixels, (SIDE, SIDE), mode="bicubic", align_corners=False)


def picture(image: Tensor) -> Picture:
    """Return an image (1, 3, S, S) in [0, 1] as a picture (S, S, 3)."""
    return (image[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()


def encoded(sheet: Picture) -> bytes:
    """Return the content of a JPEG file that leaves the colours of thin lines sharp."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, 90]
    sampling = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR), quality + sampling)
    return data.tobytes()


def main() -> None:
    """Read the command line, draw the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--weights", default="synthetic-64")
    parser.add_argument("--person", type=int, default=10, help="number among those not trained on")
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--out", type=Path, default=ROOT / "docs/front.jpg")
    options = parser.parse_args()
    torch.manual_seed(0)
    trained = load_trained(options.weights)
    assert trained.world is not None
    film = render(trained.world.identities + options.person, options.seconds, trained.encoder.crop)
    told = probabilities(trained, options.weights, film)
    first, second = two_frames(film)
    curves = [
        Curve(unit, words, film.intensities[:, ACTION_UNITS.index(unit)], told[:, i])
        for i, (unit, words) in enumerate(UNITS.items())
    ]
    pair = frames(trained, film.pictures[first], film.pictures[second])
    sheet = draw(pair, Clip(film.pictures, film.times, (first, second)), curves)
    try:
        options.out.write_bytes(encoded(sheet))
    except OSError as error:
        sys.exit(f"front_picture: error: {error}")
    for curve in curves:
        print(f"{curve.unit}  correlation {curve.correlation:.2f}")


if __name__ == "__main__":
    main()
