"""Things before the mouth: microphones and hands."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tcae.data.synthetic.head import Head
from tcae.data.synthetic.solids import Solid, ball, joined, solid, tube

Array = NDArray[np.float64]

_FOAM = np.array(  # black (twice), grey, blue, red, green, orange
    [[26, 26, 28], [26, 26, 28], [92, 92, 94], [30, 56, 130], [150, 30, 34], [30, 96, 60],
     [206, 110, 30]]
)  # fmt: skip
# Fingers: place of the knuckle on the palm, its height, length, radius; in head units.
_FINGERS = (
    (-0.48, 0.02, 1.12, 0.145),
    (-0.16, 0.1, 1.24, 0.15),
    (0.16, 0.06, 1.16, 0.145),
    (0.46, -0.06, 0.92, 0.125),
)
_PHALANGES = np.array([0.45, 0.31, 0.24])
# Where a hand touches the face, the height in the hand that does, the bends of the fingers, and
# ranges of the hand's turn in the picture (0 is upright, positive away from the face) and of its
# lean towards the viewer, in degrees.
_FIST, _BENT, _STRAIGHT = (45, 95, 60), (20, 45, 25), (15, 30, 15)
_GESTURES = {
    "fist at the chin": ((0.1, -1.8), 0.3, _FIST, (5, 40), (20, 55)),
    "fist at the mouth": ((0.05, -1.25), 0.25, _FIST, (10, 45), (20, 50)),
    "fist at the cheek": ((0.85, -1.05), 0.25, _FIST, (0, 25), (10, 45)),
    "fingers on the mouth": ((0.0, -1.1), 1.0, _STRAIGHT, (35, 75), (-25, 10)),
    "fingers on the cheek": ((0.72, -0.75), 0.8, _STRAIGHT, (-5, 25), (-25, 10)),
    "fingers on the chin": ((0.0, -1.6), 0.9, _BENT, (20, 60), (-25, 10)),
}


def microphone(random: np.random.Generator) -> Solid:
    """Return a microphone before or below the mouth: foam or a grille on a stem, held still."""
    radius = random.uniform(0.26, 0.46)
    top = random.uniform(-1.7, -0.9)
    place = np.array([random.normal(0, 0.3), top - radius, random.uniform(0.85, 1.5)])
    foam = _FOAM[random.integers(len(_FOAM))] * random.uniform(0.8, 1.3)
    points, triangles = ball(place, radius * np.array([1, random.uniform(0.95, 1.3), 1]), 16)
    rough = random.uniform(0.75, 1.1, (len(points), 1))
    metal = random.random() < 0.25
    if metal:
        foam = np.full(3, random.uniform(90, 170))
    head = solid(points, triangles, foam * rough, 0.3 if metal else 0.0, stays=1)
    lean = random.normal([0, 0], [0.25, 0.2])
    end = place + np.array([lean[0], -1.0, lean[1] - 0.2]) * 4
    path = np.linspace(place + 0.7 * radius * (end - place) / np.linalg.norm(end - place), end, 4)
    points, triangles = tube(path, np.full(4, random.uniform(0.1, 0.2)))
    return joined([head, solid(points, triangles, [30, 30, 32], 0.25, stays=1)])


def headset(random: np.random.Generator, head: Head, face: NDArray[np.float32]) -> Solid:
    """Return the boom of a headset, from an ear along the cheek to the corner of the mouth."""
    ears = face[head.masks["ears"] > 0.7]
    ear = ears[ears[:, 0] > 0].mean(0)
    mouth = face[head.landmarks["left_mouth"]]
    jaw = _outermost(face, head, -0.85)
    end = mouth + random.uniform([0.0, -0.2, 0.1], [0.2, 0.05, 0.25])
    path = np.array([ear, jaw, end, end]) + np.array(
        [[0] * 3, [0.1, 0, 0.05], [0.2, 0, -0.12], [0] * 3]
    )
    steps = np.linspace(0, 3, 9)
    path = np.stack([np.interp(steps, range(4), path[:, k]) for k in range(3)], 1)
    points, triangles = tube(path, np.full(9, 0.025), 6)
    dark = random.uniform(15, 60) if random.random() < 0.7 else random.uniform(140, 210)
    boom = solid(points, triangles, np.full(3, dark), 0.3, near=0.995)
    points, triangles = ball(end, np.full(3, random.uniform(0.06, 0.13)), 8)
    both = joined([boom, solid(points, triangles, [22, 22, 24], near=0.99)])
    return both if random.random() < 0.5 else both.mirrored()


def _outermost(face: NDArray[np.float32], head: Head, height: float) -> Array:
    """Return the left edge of the face at a height."""
    skin = face[(head.masks["face"] > 0.5) & (np.abs(face[:, 1] - height) < 0.15)]
    return np.asarray(skin[skin[:, 0].argmax()], np.float64)


def hand(
    random: np.random.Generator, head: Head, face: NDArray[np.float32], skin: Array, sleeve: Array
) -> tuple[Solid, Array]:
    """Return a hand that touches the face, and the place (3,) that it touches.

    Args:
        random: Random numbers for what it does.
        head: The mesh.
        face: (V, 3) neutral vertices.
        skin: (3,) colour of the skin.
        sleeve: (3,) colour of the sleeve.
    """
    contact, height, bends, turns, leans = _GESTURES[str(random.choice(list(_GESTURES)))]
    made = _hand(random, np.asarray(bends) * random.uniform(0.85, 1.15), skin, sleeve)
    turn, tilt = np.radians([random.uniform(*turns), random.uniform(*leans)])
    (cz, cx), (sz, sx) = np.cos([turn, tilt]), np.sin([turn, tilt])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    place = np.append(contact + random.normal(0, 0.08, 2), 0.0)
    front = face[(head.masks["face"] > 0.5) & (np.hypot(*(face[:, :2] - place[:2]).T) < 0.25)]
    place[2] = front[:, 2].max() if len(front) else 0.2
    matrix = about_z @ about_x * random.uniform(0.88, 1.02)
    rest = matrix @ np.array([0.0, height, _deepest(made, height)])
    made = made.moved(place - rest, matrix)
    if random.random() < 0.5:
        return made, place
    return made.mirrored(), place * [-1, 1, 1]


def _deepest(made: Solid, height: float) -> float:
    """Return z of the side of a hand that touches, at a height of the hand."""
    near = np.abs(made.vertices[:, 1] - height) < 0.2
    return float(made.vertices[near, 2].min())


def _hand(random: np.random.Generator, bends: Array, skin: Array, sleeve: Array) -> Solid:
    """Return a left hand, upright, its back to the viewer, its knuckles at y = 0."""
    colour = skin * random.uniform(0.9, 1.02)
    pieces = []
    for x, y, length, radius in _FINGERS:
        fan = random.normal(-0.12 * x, 0.03)
        bent = np.radians(np.cumsum(bends * random.uniform(0.9, 1.1, 3)))
        steps = length * _PHALANGES
        away = np.stack([np.sin(fan) * np.cos(bent), np.cos(bent), -np.sin(bent)], 1)
        joints = np.array([x, y, 0]) + np.vstack([np.zeros(3), np.cumsum(steps[:, None] * away, 0)])
        pieces.append(_limb(_finer(joints), radius * np.linspace(1.05, 0.8, 7), colour))
    reach = np.radians(random.uniform(10, 45))
    thumb = np.array([[-0.45, -1.2, 0], [-0.72, -0.75, -0.1], [-0.72, -0.3, -0.25]])
    thumb = np.vstack([thumb, thumb[-1] + 0.45 * np.array([np.sin(reach), np.cos(reach), -0.3])])
    pieces.append(_limb(_finer(thumb), np.linspace(0.24, 0.14, 7), colour))
    palm = np.array([[0, -0.12, 0], [0, -0.4, 0], [0, -0.9, 0], [0, -1.3, 0], [0, -1.6, 0]])
    wide = np.array([[0.54, 0.09], [0.6, 0.15], [0.58, 0.22], [0.46, 0.24], [0.38, 0.24]])
    points, triangles = tube(palm, wide, 12)
    pieces.append(solid(points, triangles, _shaded(points, colour), 0.08, stays=1))
    arm = np.array([[0, -1.6, 0], [0, -2.2, 0], [0, -6, 0]])
    points, triangles = tube(arm, np.array([0.4, 0.42, 0.7]), 10)
    bare = random.random() < 0.4
    pieces.append(solid(points, triangles, colour if bare else sleeve, 0.05, stays=1))
    return joined(pieces)


def _finer(joints: Array) -> Array:
    """Return the joints (4, 3) with a point between each two."""
    return np.stack([np.interp(np.linspace(0, 3, 7), range(4), joints[:, k]) for k in range(3)], 1)


def _limb(path: Array, radii: Array, colour: Array) -> Solid:
    points, triangles = tube(path, radii, 8)
    shade = np.tile(np.where(np.arange(8) % 4 == 0, 0.72, 1.0), len(points) // 8)[:, None]
    shade[-40:] *= 1.04  # finger tips are lighter
    return solid(points, triangles, colour * shade, 0.08, stays=1)


def _shaded(points: ArrayLike, colour: Array) -> Array:
    """Return the colour of the back of the hand: darker between the knuckles and at its sides."""
    x, y = np.asarray(points)[:, 0], np.asarray(points)[:, 1]
    between = np.cos(x * np.pi / 0.16) * np.clip(1 + y / 0.6, 0, 1)
    return colour * (0.96 + 0.04 * between)[:, None]
