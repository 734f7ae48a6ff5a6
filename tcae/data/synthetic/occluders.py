"""What hides parts of faces in a video: glasses, hats, microphones and hands."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tcae.data.synthetic.appearance import Look
from tcae.data.synthetic.glasses import glasses
from tcae.data.synthetic.hats import hat
from tcae.data.synthetic.head import Head
from tcae.data.synthetic.held import hand, headset, microphone
from tcae.data.synthetic.motion import check_range, smooth_noise
from tcae.data.synthetic.scene import PIVOT, Camera, Pose, view_of
from tcae.data.synthetic.solids import SolidView, joined

Array = NDArray[np.float64]

_HAND_SECONDS = 1.2
_BELOW = np.array([0.0, -4.5, 0.0])  # from the face to where a hand is out of the picture


@dataclass(frozen=True)
class OccluderConfig:
    """What hides parts of faces. All are shares of the videos.

    Attributes:
        glasses: Glasses with clear lenses.
        sunglasses: Glasses with dark lenses, which hide the eyes.
        hats: Caps, woollen hats and headscarves.
        microphones: A microphone before the mouth or below it, or a headset.
        hands: A hand at chin, cheek or mouth for about half of the time.
    """

    glasses: float = 0.0
    sunglasses: float = 0.0
    hats: float = 0.0
    microphones: float = 0.0
    hands: float = 0.0

    def __post_init__(self) -> None:
        for name in ("glasses", "sunglasses", "hats", "microphones", "hands"):
            check_range(f"occluders.{name}", getattr(self, name), 0, 1)
        check_range("occluders.glasses + sunglasses", self.glasses + self.sunglasses, 0, 1)


def hand_motion(random: np.random.Generator, times: Array) -> Array:
    """Return how far a hand is raised in a video: (T,), 0 out of the picture, 1 at the face."""
    return np.clip(0.5 + 2.5 * smooth_noise(random, times, _HAND_SECONDS, 1)[:, 0], 0, 1)


class Occluders:
    """What hides parts of a face in one video.

    Args:
        random: The video's random numbers.
        head: The mesh.
        person: The looks of the person.
        cloth: (3,) colour of the clothes.
        config: What there is how often.
    """

    def __init__(
        self, random: np.random.Generator, head: Head, person: Look, cloth: Array,
        config: OccluderConfig,
    ) -> None:  # fmt: skip
        face = person.vertices
        choices, lenses, cap, foam, palm = random.spawn(5)
        spectacles, hatted, spoken, touched, boom = choices.random(5)
        pieces = []
        if spectacles < config.glasses or spectacles >= 1 - config.sunglasses:
            pieces.append(glasses(lenses, head, face, dark=spectacles >= config.glasses))
        if hatted < config.hats:
            pieces.append(hat(cap, head, face, person.man))
        if spoken < config.microphones:
            pieces.append(microphone(foam) if boom < 0.7 else headset(foam, head, face))
        self._hand, self._touched = slice(0, 0), np.zeros(3)
        if touched < config.hands:
            made, self._touched = hand(palm, head, face, person.skin, cloth)
            before = sum(len(piece.vertices) for piece in pieces)
            self._hand = slice(before, before + len(made.vertices))
            pieces.append(made)
        self._solid = joined(pieces) if pieces else None

    def view(self, hand: float, pose: Pose, camera: Camera) -> SolidView | None:
        """Return the view of all that there is; None for nothing.

        Args:
            hand: How far a hand is raised.
            pose: Pose of the head.
            camera: The camera.
        """
        if self._solid is None:
            return None
        vertices = self._solid.vertices.copy()
        if self._hand.stop:
            arm = self._touched - PIVOT
            follow = np.einsum("j,ij->i", arm, pose.rotation()) - arm
            vertices[self._hand] += (follow + (1 - hand) * _BELOW).astype(np.float32)
        view = view_of(vertices, self._solid.stays, pose, camera)
        return SolidView(self._solid, replace(view, depth=view.depth * self._solid.near))
