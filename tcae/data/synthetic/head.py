"""The head: a mesh whose shape is the person and whose displacements are the expression.

Coordinates are those of the person from the front: x to the right of the picture (the
person's left), y up, z towards the viewer. The origin lies between the eyes' centres; one unit is
the mean distance of the eyes' centres (about 63 mm). `tools/build_head` writes the data file;
`LICENSE-head.md` beside it says where the data come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tcae.data.synthetic.hair import NO_HAIR, HairStyle, Scalp, shell_mesh

Array = NDArray[np.float32]
Ids = NDArray[np.int32]

HEAD_FILE = Path(__file__).with_name("head.npz")
# What a triangle belongs to: `Head.parts` indexes this.
PARTS = ("skin", "neck", "mouth", "socket", "tongue", "teeth", "lashes", "eye", "hair")
# The action units that `Head.expression` knows, by FACS number.
UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 16, 17, 18, 20, 22, 23, 24, 25, 26, 45)
_EYES_OPEN = (0.35, 0.25)  # how wide people's eyes are at rest: mean and deviation, in AU 5
_RIM = float(np.cos(np.deg2rad(96)))  # where along its axis the eyeball is cut off, in radii


@dataclass(frozen=True)
class Identity:
    """One person.

    Attributes:
        vertices: (V, 3) float32, the neutral face in head units.
        male: 0 (female) to 1 (male).
        age: 0 (young adult) to 1 (old).
        weight: -1 (thin) to 1 (heavy).
        race: (3,) shares of African, Asian and Caucasian, sum 1: skin and hair should fit them.
    """

    vertices: Array
    male: float
    age: float
    weight: float
    race: Array


class Head:
    """The head model. `Head.load()` returns the one that ships with the package.

    V vertices, T triangles, U texture points. The texture is one square picture for all parts; its
    points are (s, t): s to the right, t downwards, both in [0, 1].

    Attributes:
        vertices: (V, 3) float32, the mean head.
        triangles: (T, 3) int32 vertices.
        parts: (T,) uint8, index into `PARTS`.
        uv: (U, 2) float32 texture points.
        uv_triangles: (T, 3) int32 texture points of the triangles' corners.
        masks: Name -> (V,) float32 in [0, 1]: `lips`, `eyelids` (their rims), `ears`, `face`,
            `inside-mouth`, and `trunk`: 0 where a vertex turns with the head, 1 where it stays
            with the body.
        landmarks: Name -> vertex: `nose_tip`, `chin`, `upper_lip` and `lower_lip` (where they
            touch); on the left `left_pupil`, `left_outer_eye`, `left_inner_eye`, `left_upper_lid`,
            `left_lower_lid`, `left_mouth` (its corner), `left_brow_0` (inner end) to `left_brow_3`
            (outer end); and the same on the right.
        occlusion: (V,) float32 in [0, 1]: share of the surrounding light that reaches a vertex.
        two_sided: (T,) bool, whether a triangle is visible from behind too.
    """

    def __init__(self, arrays: dict[str, NDArray[np.generic]]) -> None:
        self._arrays = arrays
        self._flesh = _restored(arrays, "vertices")
        hair, hair_uv = shell_mesh()
        uv: Array = arrays["uv"].astype(np.float32) * np.float32(1 / 65535)
        self.vertices = np.concatenate([self._flesh, np.tile(NO_HAIR, (len(hair_uv), 1))])
        self.triangles = _joined(arrays["triangles"], hair, len(self._flesh))
        self.parts = _joined(arrays["parts"], np.full(len(hair), PARTS.index("hair"))).astype("u1")
        self.uv = np.concatenate([uv, hair_uv])
        self.uv_triangles = _joined(arrays["uv_triangles"], hair, len(uv))
        self.two_sided = np.isin(self.parts, [PARTS.index(n) for n in ("lashes", "mouth", "hair")])
        values = arrays["masks"].astype(np.float32) / 255
        values = np.pad(values, [(0, 0), (0, len(hair_uv))])
        self.masks = dict(zip(arrays["mask_names"].tolist(), values, strict=True))
        self.occlusion = self.masks.pop("occlusion")
        self.occlusion[len(self._flesh) :] = 1
        vertices = arrays["landmarks"].astype(int).tolist()
        self.landmarks = dict(zip(arrays["landmark_names"].tolist(), vertices, strict=True))
        self._mirror = arrays["mirror"].astype(int)
        self._units = self._targets("units", 2 * len(UNITS))
        self._lip_pairs = arrays["lip_pairs"].astype(int)
        self._eyes = [_Eye(self, side, arrays["lid_pairs"].astype(int)) for side in range(2)]
        self._poles = [self.landmarks["left_pupil"], self.landmarks["right_pupil"]]

    @staticmethod
    @cache
    def load() -> Head:
        """Return the head that ships with the package, read once."""
        with np.load(HEAD_FILE) as file:
            return Head(dict(file))

    def identity(self, random: np.random.Generator) -> Identity:
        """Draw a person at random: sex, age, weight and race, then some ninety local shapes."""
        male = float(np.clip(random.choice([0.1, 0.9]) + random.normal(0, 0.15), 0, 1))
        age = float(random.beta(1.2, 1.8))
        weight = float(np.clip(random.normal(0, 0.45), -1, 1))
        race = random.dirichlet([0.35, 0.35, 0.35]).astype(np.float32)
        kind = np.outer([1 - male, male], [1 - age, age]).ravel().astype(np.float32)
        mix = np.outer(kind, race).ravel()
        shape = self._flesh + _mixed(mix, self._targets("macro", 12))
        ends = np.outer(kind, [max(-weight, 0), max(weight, 0)]).ravel().astype(np.float32)
        shape += _mixed(ends, self._targets("weight", 8))
        shape += self._local_shapes(random)
        face = self.masks["face"][: len(shape)]
        shape = normalised(shape, self._poles, face, self._flesh).astype(np.float32)
        wide = np.float32(np.clip(random.spawn(1)[0].normal(*_EYES_OPEN), 0, 1))
        shape = self._mouth_shut(shape + wide * self._both_sides(5))
        vertices = self.vertices.copy()
        vertices[: len(shape)] = shape
        rested = self.expression(vertices, np.zeros((len(UNITS), 2)))  # lids outside the eyeballs
        return Identity(rested, male, age, weight, race)

    def with_hair(self, shape: Array, style: HairStyle, random: np.random.Generator) -> Array:
        """Return a neutral face (V, 3) with hair.

        Args:
            shape: (V, 3) face without hair, `Identity.vertices`.
            style: Form of the hair.
            random: Random numbers for its unevenness.
        """
        grown = shape.copy()
        grown[len(self._flesh) :] = self._scalp.grow(shape[: len(self._flesh)], style, random)
        return grown

    @cached_property
    def _scalp(self) -> Scalp:
        skin = np.unique(self.triangles[self.parts == PARTS.index("skin")])
        skin = skin[self.masks["ears"][skin] < 0.1]
        return Scalp(self._flesh, skin, self._arrays["scalp_radii"].astype(np.float32))

    def _targets(self, name: str, count: int) -> Array:
        return _restored(self._arrays, name).reshape(count, -1, 3)

    def _mouth_shut(self, shape: Array) -> Array:
        """Return a face whose lips touch, by as much (or little) of AU 25 as their gap asks for."""
        part = self._both_sides(25)
        upper, lower = self._lip_pairs.T
        gap = shape[upper, 1] - shape[lower, 1]
        rate = part[upper, 1] - part[lower, 1]
        return shape - part * np.clip(gap / rate, -0.6, 0.6).max()

    def _both_sides(self, unit: int) -> Array:
        """Return what a unit at full intensity does, (V, 3)."""
        first = 2 * UNITS.index(unit)
        return np.asarray(self._units[first : first + 2].sum(0))

    def _local_shapes(self, random: np.random.Generator) -> Array:
        """Add up the local targets with random strengths, nearly equal on both sides, (V, 3)."""
        sided = self._arrays["local_sided"].astype(bool)
        n = len(sided)
        common = random.normal(0, self._arrays["local_spread"].astype(np.float64))
        left, right = (common + random.normal(0, 0.04, (2, n)) * sided).clip(-0.7, 0.7)
        targets = self._targets("local", 2 * n)

        def moves(strengths: NDArray[np.float64]) -> Array:
            ends = np.stack([np.maximum(-strengths, 0), np.maximum(strengths, 0)], 1)
            return _mixed(ends.ravel(), targets)

        other = moves(right * sided)[self._mirror] * np.array([-1, 1, 1], np.float32)
        return np.asarray(moves(left) + other)

    def expression(
        self, shape: Array, intensities: ArrayLike, gaze: ArrayLike = (0.0, 0.0)
    ) -> Array:
        """Return a face with active action units.

        Args:
            shape: (V, 3) neutral vertices (`Identity.vertices`).
            intensities: (A, 2) of `UNITS`, left and right side of the person, in [0, 1]. Units of
                the midline (17, 23, 25, 26) have the mean of both in the middle.
            gaze: Turn of the eyes in radians, to the right of the picture and down.

        Returns:
            (V, 3) float32 vertices.
        """
        amounts = np.array(intensities, np.float32).reshape(-1)
        if amounts.size != 2 * len(UNITS):
            raise ValueError(f"intensities: shape ({len(UNITS)}, 2) needed, {amounts.shape} came")
        blinks = amounts[-2:].copy()
        amounts[-2:] = 0
        face = shape.copy()
        flesh = face[: len(self._flesh)]
        flesh += _mixed(amounts, self._units)
        for eye, blink in zip(self._eyes, blinks, strict=True):
            eye.move(flesh, float(blink), np.asarray(gaze, np.float64))
        return face


class _Eye:
    """One eye, with lids that close over the ball and a ball that turns.

    Args:
        head: The mesh.
        side: 0 left, 1 right.
        lid_pairs: (2, n, 2) vertices of the upper and lower lid that meet in a blink.
    """

    def __init__(self, head: Head, side: int, lid_pairs: NDArray[np.int64]) -> None:
        self._upper, self._lower = lid_pairs[side].T
        self._blink = head._units[2 * UNITS.index(45) + side]
        balls = np.unique(head.triangles[head.parts == PARTS.index("eye")])
        self._ball = balls[len(balls) // 2 * side :][: len(balls) // 2]
        flesh = np.isin(head.parts, [PARTS.index("skin"), PARTS.index("socket")])
        lids = np.unique(head.triangles[flesh])
        centre, radius = self._sphere(head.vertices)
        away = head.vertices[lids] - centre
        self._lids = lids[(np.linalg.norm(away, axis=1) < 1.7 * radius) & (away[:, 2] > 0)]

    def move(self, face: Array, blink: float, gaze: NDArray[np.float64]) -> None:
        """Close the lids by a share of their gap and turn the ball, in place."""
        lowered = 1 - (1 - blink) * (1 - max(float(gaze[1]), 0.0))  # lids follow the gaze down
        if lowered > 0:
            gap = face[self._upper, 1] - face[self._lower, 1]
            rate = self._blink[self._lower, 1] - self._blink[self._upper, 1]
            face += self._blink * np.float32(lowered * np.clip(gap / rate, 0, 2.4).max())
        centre, radius = self._sphere(face)
        (cy, cp), (sy, sp) = np.cos(gaze), np.sin(gaze)
        turn = np.array([[cy, 0, sy], [sp * sy, cp, -sp * cy], [-cp * sy, sp, cp * cy]])
        face[self._ball] = np.einsum("vj,ij->vi", face[self._ball] - centre, turn) + centre
        away = face[self._lids] - centre
        distance = np.linalg.norm(away, axis=1, keepdims=True)
        face[self._lids] = centre + away * np.maximum(1, 1.04 * radius / distance)

    def _sphere(self, face: Array) -> tuple[Array, float]:
        """Return the centre and radius of the ball, from its pupil and its last ring."""
        pole, rim = face[self._ball[0]], face[self._ball[-20:]].mean(0)
        radius = float(np.linalg.norm(pole - rim)) / (1 - _RIM)
        return pole + (rim - pole) / (1 - _RIM), radius


def normalised(
    vertices: NDArray[np.floating],
    poles: Sequence[int],
    weights: NDArray[np.floating],
    like: NDArray[np.floating],
) -> NDArray[np.floating]:
    """Move vertices so that the eyes keep their place. Scale them so that the face keeps its size.

    Args:
        vertices: (V, 3) of a head.
        poles: The vertices of the two pupils.
        weights: (V,) of the face, whose mean distance from the point between the pupils is size.
        like: (V, 3) of the head that sets place and size.
    """
    away = [v - v[list(poles)].mean(0) for v in (vertices, like)]
    size = [(np.linalg.norm(v, axis=1) * weights).sum() for v in away]
    return away[0] * (size[1] / size[0]) + like[list(poles)].mean(0)


def _mixed(amounts: NDArray[np.floating], targets: Array) -> Array:
    """Return the weighted sum of targets (n, V, 3), added in an order that no library chooses."""
    total = np.zeros(targets.shape[1:], np.float32)
    for i in np.flatnonzero(amounts):
        total += np.float32(amounts[i]) * targets[i]
    return total


def _joined(first: NDArray[np.generic], second: NDArray[np.integer], shift: int = 0) -> Ids:
    return np.concatenate([first.astype(np.int32), second.astype(np.int32) + np.int32(shift)])


def _restored(arrays: dict[str, NDArray[np.generic]], name: str) -> Array:
    scale = arrays[f"{name}_scale"].astype(np.float32)[..., None, None]
    return np.asarray(arrays[name].astype(np.float32) * scale)
