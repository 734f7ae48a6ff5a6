"""Pairs of frames with the flows and pictures that a perfect model would give for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tcae.data.splits import Split, split_of
from tcae.data.synthetic.flow import Flow
from tcae.data.synthetic.world import World, identity_name

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class TruthPair:
    """Two frames of one video, and the two faces between them.

    Flows are backward, in pixels: `tcae_ops.warp(source, au_flow.flow)` resembles `au_only` where
    `au_flow.visible` is true. The same holds for `pose_flow` and `pose_only`, `flow` and `target`.

    Attributes:
        source: (S, S, 3) uint8 the frame to start from.
        target: The frame to reach.
        au_only: The source's pose and crop with the target's facial action.
        pose_only: The target's pose and crop with the source's facial action.
        au_flow: Flow from `au_only` to the source.
        pose_flow: Flow from `pose_only` to the source.
        flow: Flow from `target` to the source.
        intensities: (2, 21) of the source and the target, mean of both sides, in [0, 1].
        pose: (2, 3) yaw, pitch, roll in degrees of the source and the target.
        identity: Name of the person.
        frames: Numbers of the source and the target in their video.
    """

    source: Picture
    target: Picture
    au_only: Picture
    pose_only: Picture
    au_flow: Flow
    pose_flow: Flow
    flow: Flow
    intensities: NDArray[np.float64]
    pose: NDArray[np.float64]
    identity: str
    frames: tuple[int, int]


def truth_pairs(
    world: World,
    split: Split | Literal["fresh"],
    number: int,
    *,
    seed: int = 0,
    split_seed: int = 0,
) -> Iterator[TruthPair]:
    """Render pairs of frames of people of one split.

    Args:
        world: The world of the people.
        split: The people of the split "train", "val" or "test", or "fresh" people, who are in no
            packed data set of the world.
        number: Number of pairs.
        seed: Seed for drawing them.
        split_seed: `--pairs.split-seed` of the training.

    Raises:
        ValueError: The split is empty, or the videos have only one frame.
    """
    if world.frames < 2:
        raise ValueError(f"frames must be at least 2 for pairs, not {world.frames}")
    people = [i for i in range(world.identities) if split_of(identity_name(i), split_seed) == split]
    if split != "fresh" and not people:
        raise ValueError(f"none of the {world.identities} people is in split {split!r}")
    random = np.random.default_rng([seed, number])
    fresh = count(world.identities)
    for k in range(number):
        # Everybody comes once before anybody comes again.
        identity = next(fresh) if split == "fresh" else people[k % len(people)]
        frames = random.choice(world.frames, 2, replace=False).tolist()
        yield truth_pair(world, identity, int(random.integers(world.videos)), *frames)


def truth_pair(world: World, identity: int, video: int, source: int, target: int) -> TruthPair:
    """Render one pair of frames of one video."""
    film = world.video(identity, video)
    a, b = film.state(source), film.state(target)
    au_only, pose_only = a.acting_as(b), b.acting_as(a)
    return TruthPair(
        source=film.picture(a, source),
        target=film.picture(b, target),
        au_only=film.picture(au_only, target),
        pose_only=film.picture(pose_only, target),
        au_flow=film.flow(a, au_only),
        pose_flow=film.flow(a, pose_only),
        flow=film.flow(a, b),
        intensities=np.stack([s.intensities.mean(1) for s in (a, b)]),
        pose=np.stack([a.pose, b.pose]),
        identity=identity_name(identity),
        frames=(source, target),
    )
