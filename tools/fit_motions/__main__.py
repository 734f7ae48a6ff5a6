"""Fit what edits faces, beside decoders that ship: usual motions, and the reading of the pose.

    python tools/fit_motions synthetic-64

Both are least squares on rendered people; no picture of a real person is seen. Everybody shows two
frames. Each face goes on to the action of another frame, and to another one of one to three units.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tcae.data.pictures import centre
from tcae.data.synthetic.packed import world_of
from tcae.data.synthetic.world import World
from tcae.editing.reading import POSE_FILE, Reading, save_pose_reading
from tcae.evaluation.linear_probe import load_probe
from tcae.models.encoder_file import FrozenEncoder, load_encoder
from tcae.models.usual_motions import MOTIONS_FILE, UsualMotions, causes, save_motions
from tcae.weights import find_weights

Array = NDArray[np.float64]

_OTHER_PEOPLE = 7201  # seed of people whom the weights were neither trained nor measured on
# Faces are cut out exactly for the flows: those of lids, which are small, would average out. The
# pose is read from faces that are cut out as a detector does it.
_EXACT = {"jitter_shift": 0.0, "jitter_scale": 0.0, "jitter_roll": 0.0}
_RIDGE = 30.0  # rows' worth of penalty on the flow of each cause


class Sums:
    """The sums that least squares with a ridge need, of rows that come one after the other."""

    def __init__(self) -> None:
        self._inner: Any = 0.0
        self._outer: Any = 0.0

    def add(self, inputs: Array, outputs: Array) -> None:
        """Take in rows (N, I) and (N, O)."""
        self._inner = self._inner + inputs.T @ inputs
        self._outer = self._outer + inputs.T @ outputs

    def weights(self, rows: int, ridge: float) -> Array:
        """Return the weights (I, O). The ridge is in rows, for inputs with a mean square of 1."""
        penalty = ridge * np.diag(np.diag(self._inner)) / rows
        return np.asarray(np.linalg.lstsq(self._inner + penalty, self._outer, rcond=None)[0])


def fit(encoder: FrozenEncoder, world: World, people: int) -> tuple[Array, Reading]:
    """Return the flows (2 A, 2, S, S) of usual motions, and the reading of the pose."""
    exact = dataclasses.replace(world, camera=dataclasses.replace(world.camera, **_EXACT))
    motions, count = Sums(), 0
    faces, poses = [], []
    for person in range(people):
        random = np.random.default_rng([world.seed, person])
        number = int(random.integers(world.videos))
        video, still = world.video(person, number), exact.video(person, number)
        for frame, other in random.choice(world.frames, (2, 2), replace=False).tolist():
            state = video.state(frame)
            rgb = video.picture(state, frame)
            faces.append(centre(rgb, encoder.crop, encoder.image_size))
            yaw, pitch, roll = state.pose
            poses.append([pitch, yaw, roll])
            start = still.state(frame)
            for action in _actions(random, start.intensities, still.state(other).intensities):
                change = torch.from_numpy((action - start.intensities).mean(1))
                flow = _seen(still.flow(start, start._replace(intensities=action)).flow, encoder)
                motions.add(causes(change[None]).numpy(), flow.reshape(1, -1))
                count += 1
    flows = motions.weights(count, _RIDGE).reshape(-1, 2, encoder.image_size, encoder.image_size)
    images = torch.from_numpy(np.stack(faces)).permute(0, 3, 1, 2)
    return flows, _pose_reading(encoder.embed(images).pose.double().numpy(), np.array(poses))


def _actions(random: np.random.Generator, start: Array, other: Array) -> tuple[Array, Array]:
    """Return what a face goes on to: another frame's action, and its own but for a few units."""
    few = start.copy()
    for unit in random.choice(len(few), int(random.integers(1, 4)), replace=False):
        mean = random.choice([0.0, 1.0, 0.0, 1.0, random.random()])
        few[unit] = np.clip(few[unit] + mean - few[unit].mean(), 0, 1)
    return other, few


def _seen(flow: NDArray[np.float32], encoder: FrozenEncoder) -> NDArray[np.float32]:
    """Return a flow (2, H, H) as the encoder would see it: (2, S, S) in its pixels."""
    layers = np.dstack([*flow, flow[0]])  # `centre` takes three
    shown = round(encoder.crop * len(layers))
    small = centre(layers, encoder.crop, encoder.image_size)[..., :2]  # type: ignore[arg-type]
    return np.moveaxis(small, -1, 0) * np.float32(encoder.image_size / shown)


def _pose_reading(embeddings: Array, poses: Array) -> Reading:
    """Return the least-squares reading of poses (N, 3) from embeddings (N, D)."""
    mean, spread = embeddings.mean(0), embeddings.std(0)
    sums = Sums()
    sums.add((embeddings - mean) / spread, poses - poses.mean(0))
    weight = (sums.weights(len(poses), 1.0) / spread[:, None]).T
    parts = (weight, poses.mean(0) - weight @ mean, spread)
    return Reading(("pitch", "yaw", "roll"), *(torch.from_numpy(p.copy()).float() for p in parts))


def main() -> None:
    """Read the command line and write both files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("weights", help="name of weights that ship, or their directory")
    parser.add_argument("--people", type=int, default=400, help="rendered people")
    options = parser.parse_args()
    folder: Path = find_weights(options.weights)
    encoder, world = load_encoder(folder), world_of(folder)
    world = dataclasses.replace(world, seed=_OTHER_PEOPLE, identities=options.people)
    flows, pose = fit(encoder, world, options.people)
    motions = UsualMotions(load_probe(folder).names, encoder.image_size)
    motions.flows = torch.from_numpy(flows).float()
    save_motions(folder / MOTIONS_FILE, motions)
    save_pose_reading(folder / POSE_FILE, pose)


if __name__ == "__main__":
    main()
