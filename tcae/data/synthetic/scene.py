"""The scene before the camera: pose, camera, light, surface, and the projection of its points."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tcae.data.synthetic.head import Head

Array = NDArray[np.float32]

PIVOT = np.array([0.0, -1.1, -1.2], np.float32)  # top of the neck: the head turns about it


@dataclass(frozen=True)
class Pose:
    """The pose of the head.

    Attributes:
        yaw: Turn to the right of the picture, radians. It comes first, then pitch, then roll.
        pitch: Nod, downwards.
        roll: Tilt, clockwise in the picture.
        x: Shift of the whole person to the right, head units.
        y: Shift downwards.
        scale: Enlargement of the whole person.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    x: float = 0.0
    y: float = 0.0
    scale: float = 1.0

    def rotation(self) -> Array:
        """Return the matrix (3, 3) that turns column vectors in the head's coordinates."""
        angles = [self.yaw, self.pitch, self.roll]
        (cy, cp, cr), (sy, sp, sr) = (f(angles) for f in (np.cos, np.sin))
        yaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        pitch = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
        roll = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
        return np.asarray(roll @ pitch @ yaw, np.float32)


@dataclass(frozen=True)
class Camera:
    """Pinhole camera before the person, and the crop of its picture.

    Attributes:
        distance: From the camera to the plane z = 0, head units (10 is about 63 cm).
        crop: (2, 3) affine map from that plane (x right, y down, 1), as projected, to pixels of
            the crop; whole numbers are pixel centres.
    """

    distance: float = 12.0
    crop: Array = field(default_factory=lambda: np.array([[44, 0, 63.5], [0, 44, 56]], np.float32))


@dataclass(frozen=True)
class View:
    """A posed mesh in a camera's picture.

    Attributes:
        space: (V, 3) float32 posed vertices: x right, y up, z to the camera.
        pixels: (V, 2) float32 projected vertices in pixels of the crop.
        depth: (V,) float32 distance from the camera along its axis, head units.
    """

    space: Array
    pixels: Array
    depth: Array


@dataclass(frozen=True)
class Light:
    """The light on the head.

    Attributes:
        ambient: (9, 3) float32, red, green and blue of the first nine real spherical harmonics'
            polynomials in the normal (1, y, z, x, xy, yz, 3z^2 - 1, xz, x^2 - y^2).
        directions: (L, 3) float32 unit vectors towards the lamps, in the camera's coordinates.
        colours: (L, 3) float32 strength of the lamps.
        shadow: Share of the strongest lamp's light that is missing in its shadows.
        window: (n, 3) float32 waves across the strongest lamp's light (per head unit to the right,
            downwards, phase), whose sum is the pattern of bars or leaves before a window.
    """

    ambient: Array
    directions: Array
    colours: Array
    shadow: float = 0.0
    window: Array = field(default_factory=lambda: np.zeros((0, 3), np.float32))


@dataclass(frozen=True)
class Surface:
    """The paint of the head.

    Attributes:
        texture: (S, S, 4) uint8: red, green, blue (as displayed, gamma 2) and gloss.
        wrinkles: (S, S, W) int8 in 1/127: the change of brightness by wrinkle pattern w at full
            strength (negative: darker).
    """

    texture: NDArray[np.uint8]
    wrinkles: NDArray[np.int8]


def look(head: Head, vertices: Array, pose: Pose, camera: Camera) -> View:
    """Return the view of a posed head.

    The neck bends: vertices of the mask `trunk` stay with the body.

    Args:
        head: The head with the mask `trunk`.
        vertices: (V, 3) from `Head.expression`.
        pose: Pose of the head.
        camera: The camera.
    """
    return view_of(vertices, head.masks["trunk"], pose, camera)


def view_of(vertices: Array, stays: Array, pose: Pose, camera: Camera) -> View:
    """Return the view of any vertices.

    Args:
        vertices: (V, 3) in the coordinates of the head.
        stays: (V,) 0 where a vertex turns with the head, 1 where it stays with the body.
        pose: Pose of the head.
        camera: The camera.
    """
    still = vertices - PIVOT
    turned = np.einsum("vj,ij->vi", still, pose.rotation())
    space = turned + stays[:, None] * (still - turned) + PIVOT
    space = space * np.float32(pose.scale) + np.array([pose.x, -pose.y, 0], np.float32)
    depth = np.float32(camera.distance) - space[:, 2]
    plane = (
        space[:, :2]
        * np.array([1, -1], np.float32)
        * (np.float32(camera.distance) / depth)[:, None]
    )
    pixels = np.einsum("vj,ij->vi", plane, camera.crop[:, :2]) + camera.crop[:, 2]
    return View(space.astype(np.float32), pixels.astype(np.float32), depth.astype(np.float32))
