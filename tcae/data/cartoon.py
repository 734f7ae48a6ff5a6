"""Talking cartoon faces: a stand-in for real video, drawn in milliseconds, with known labels.

A face is a set of curves on an ellipsoid. Six action units bend them, the head turns in 3D, and the
projection is filled with OpenCV. Lengths are fractions of the picture's width.
"""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tcae.data.align import DEFAULT_TEMPLATE
from tcae.data.durable import write_durably
from tcae.data.shard_files import Clip, PackInfo, ShardWriter

ACTION_UNITS = ("AU01", "AU02", "AU04", "AU12", "AU26", "AU45")
_CENTRE = np.array([0.5, 0.445])
_RADII = np.array([0.29, 0.37, 0.28])  # of the head
_ACTIVE, _ABSENT = 0.3, 0.12  # intensities from which an AU is labelled 1, below which 0
_OVERSAMPLE = 2

Array = NDArray[np.float64]


def make_cartoons(
    out: str | os.PathLike[str],
    image_size: int = 64,
    identities: int = 100,
    frames: int = 40,
    seed: int = 0,
) -> None:
    """Draw a packed data set of cartoon faces, with `labels.csv`.

    Args:
        out: Directory to make; it must not hold a packed data set yet.
        image_size: Side of the pictures in pixels.
        identities: Number of different faces; each has one video of one track.
        frames: Frames of each.
        seed: Same seed, same bytes.

    Raises:
        FileExistsError: `out` holds frames already.
    """
    directory = Path(out)
    with ShardWriter(directory, "cartoons", image_size) as shard:
        rows = [["frame", "subject", *ACTION_UNITS]]
        for number in range(identities):
            clip = Clip(name := f"cartoon{number:04d}", name, "0")
            face = CartoonFace(np.random.default_rng([seed, number]), image_size)
            pose, units = _performance(np.random.default_rng([seed, number, 1]), frames)
            for frame in range(frames):
                rgb, points = face.draw(pose[frame], units[frame])
                shard.add(clip, frame, rgb, timestamp=frame / 5, confidence=1.0, points=points)
                cells = np.where(units[frame] > _ACTIVE, "1", "9")
                cells[units[frame] < _ABSENT] = "0"
                rows.append([f"{name}/0/{frame}", name, *cells.tolist()])
            shard.finish_video({"source": name, "status": "packed", "frames": frames})
    PackInfo(image_size, DEFAULT_TEMPLATE, {"generator": "cartoons", "seed": seed}).save(directory)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_durably(directory / "labels.csv", text.getvalue().encode())


def _performance(random: np.random.Generator, frames: int) -> tuple[Array, Array]:
    """Pose (frames, 6): yaw, pitch, roll in radians, x, y, scale; AU intensities (frames, 6)."""
    time = np.arange(frames)[:, None]
    speed = random.uniform(0.15, 0.9, (2, 6))
    wave = np.sin(time * speed[0] + random.uniform(0, 6.3, 6))
    wave += np.sin(time * speed[1] + random.uniform(0, 6.3, 6))
    pose = wave * [0.23, 0.14, 0.08, 0.018, 0.014, 0.025]
    # Each unit is switched on for a few frames at a time, with a new strength each time.
    turns = -(-frames // 4) + 1
    strength = random.uniform(0.45, 1, (turns, 6)) * (random.random((turns, 6)) < 0.4)
    shift = random.integers(0, 4, 6)
    units = strength[(time + shift) // 4, np.arange(6)]
    before = np.concatenate([units[:1], units[:-1]])
    return pose, 0.7 * units + 0.3 * before


class CartoonFace:
    """One person: colours, proportions, background and light, drawn in any pose and expression.

    Args:
        random: Decides how the person looks.
        image_size: Side of the pictures.
    """

    def __init__(self, random: np.random.Generator, image_size: int) -> None:
        self.image_size = image_size
        self._canvas_size = image_size * _OVERSAMPLE
        tone = random.uniform(0.4, 1)
        self.skin = np.array([250, 205, 175]) * tone + random.uniform([0, -8, -15], [14, 8, 10])
        self.hair = np.array([150, 105, 60]) * random.uniform(0.1, 1.4) + random.uniform(-15, 15, 3)
        self.iris = random.uniform(20, 150, 3)
        self.shirt = random.uniform(20, 235, 3)
        self.lips = self.skin * [0.85, 0.5, 0.5] + [15, 0, 5]
        self.stretch = random.uniform([0.88, 0.93], [1.1, 1.06])
        self.eye = random.uniform([0.112, 0.045, 0.021], [0.135, 0.062, 0.032])  # x, width, height
        self.brow = random.uniform([0.07, 0.008], [0.1, 0.02])  # height over the eye, thickness
        self.mouth = random.uniform([0.075, 0.012], [0.11, 0.026])  # half width, lip thickness
        self.nose = random.uniform([0.025, 0.08], [0.05, 0.13])  # half width, depth
        self.fringe = random.uniform(-0.36, -0.24)
        self.long_hair = random.random() < 0.5
        self.glasses = random.random() < 0.2
        self.moles = random.uniform([-0.2, -0.12], [0.2, 0.24], (int(random.integers(3, 14)), 2))
        self._background, self._light = self._scene(random)

    def draw(self, pose: Array, units: Array) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Picture of the face.

        Args:
            pose: yaw, pitch, roll (radians), shift x, y and scale change (fractions).
            units: Intensities in [0, 1], as `ACTION_UNITS`.

        Returns:
            (S, S, 3) uint8 RGB, and the five alignment points (5, 2) in its pixels.
        """
        self._canvas = self._background.copy()
        self._turn = _rotation(pose[:3]) * (1 + pose[5])
        self._shift = _CENTRE + pose[3:5]
        self._draw_head(units[4])
        for side in (-1.0, 1.0):
            self._draw_eye(side, units[5])
            self._draw_brow(side, *units[:3])
        self._draw_nose()
        corners = self._draw_mouth(units[3], units[4])
        lit = cv2.multiply(self._canvas, self._light, scale=1 / 255)
        size = (self.image_size, self.image_size)
        small = cv2.resize(lit, size, interpolation=cv2.INTER_AREA)
        eyes = _surface(np.array([[-self.eye[0], -0.155], [self.eye[0], -0.155]]))
        nose = np.array([[0, -0.01, _RADII[2] + self.nose[1]]])
        points = self._project(np.concatenate([eyes, nose, corners])) * self.image_size - 0.5
        return small, points.astype(np.float32)  # type: ignore[return-value]

    def _scene(self, random: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Textured background with shoulders, and the light that falls on everything."""
        size = self._canvas_size
        grey = random.uniform(60, 190) + random.normal(0, 22, (6, 6, 1))
        scene = np.full((size, size, 3), random.normal(0, 15, 3))
        for noise in (grey + random.normal(0, 8, (6, 6, 3)), random.normal(0, 10, (24, 24, 3))):
            scene += cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC)
        scene = np.clip(scene, 0, 255).astype(np.uint8)
        angle, depth = random.uniform(0, 6.3), random.uniform(0.1, 0.35)
        y, x = np.mgrid[0:size, 0:size] / size - 0.5
        light = 1 - depth * (0.5 + np.clip(np.cos(angle) * x + np.sin(angle) * y, -0.5, 0.5))
        return scene, np.repeat((light * 255).astype(np.uint8)[..., None], 3, 2)

    def _draw_head(self, jaw: float) -> None:
        angle = np.linspace(0, 2 * np.pi, 32, endpoint=False)
        ring = np.stack([np.cos(angle), np.sin(angle)], 1)
        outline = ring * _RADII[:2] * self.stretch - [0, 0.05]
        if self.long_hair:
            self._fill(np.c_[outline * [1.25, 1.2] + [0, 0.05], np.full(32, -0.1)], self.hair * 0.8)
        for corners, colour in (
            ([[-0.1, 0.1], [0.1, 0.1], [0.12, 0.4], [-0.12, 0.4]], self.skin * 0.75),
            ([[-0.12, 0.4], [0.12, 0.4], [0.5, 0.7], [-0.5, 0.7]], self.shirt),
        ):
            self._fill(np.c_[np.array(corners), np.full(4, -0.12)], colour)
        for side in (-1, 1):
            ear = ring * [0.04, 0.07] + [side * 0.29 * self.stretch[0], -0.04]
            self._fill(np.c_[ear, np.full(32, -0.04)], self.skin * 0.85)
        self._fill(np.c_[outline * [1.08, 1.08] - [0, 0.02], np.full(32, -0.06)], self.hair)
        chin = outline + np.c_[np.zeros(32), jaw * 0.09 * np.clip(outline[:, 1] / 0.3, 0, 1)]
        visible = chin[chin[:, 1] > self.fringe]
        visible = visible[np.argsort(np.arctan2(visible[:, 0], visible[:, 1] + 0.05))]
        self._fill(np.c_[visible, np.full(len(visible), 0.03)], self.skin)
        for x, y in self.moles:
            mole = _surface(np.array([[x, y + jaw * 0.05 * (y > 0.15)]]))
            self._disc(mole, 0.006, self.skin * 0.6)

    def _draw_eye(self, side: float, closed: float) -> None:
        x, width, height = self.eye
        t = np.linspace(-1, 1, 9)
        centre = np.array([side * x, -0.155])
        upper = np.stack([t * width, -height * (1 - t**2)], 1) + centre
        lower = np.stack([t * width, height * 0.8 * (1 - t**2)], 1) + centre
        lid = upper + closed * (lower - upper)
        self._fill(_surface(np.r_[upper, lower[::-1]]), np.full(3, 240.0))
        self._disc(_surface(centre[None]), height * 0.85, self.iris)
        self._disc(_surface(centre[None]), height * 0.4, np.full(3, 15.0))
        self._fill(_surface(np.r_[upper - [0, 0.008], lid[::-1]]), self.skin * 0.82)
        self._line(_surface(lid), 0.008, self.skin * 0.3)
        if self.glasses:
            angle = np.linspace(0, 2 * np.pi, 17)
            rim = np.stack([np.cos(angle) * 0.085, np.sin(angle) * 0.065], 1) + centre
            self._line(_surface(rim) + np.array([0, 0, 0.03]), 0.006, np.full(3, 35.0))

    def _draw_brow(self, side: float, inner: float, outer: float, lower: float) -> None:
        t = np.linspace(0, 1, 6)  # from the inner to the outer end
        x = 0.055 + 0.14 * t - 0.018 * lower * (1 - t)
        y = -0.155 - self.brow[0] - 0.02 * np.sin(np.pi * t * 0.9)
        y = y - 0.045 * inner * (1 - t) ** 1.5 - 0.05 * outer * t**1.5 + lower * (0.045 - 0.02 * t)
        self._line(_surface(np.stack([side * x, y], 1)), self.brow[1] + 0.008, self.hair * 0.7)
        if lower > 0.1:
            crease = np.array([[side * 0.018, -0.26], [side * 0.022, -0.2]])
            self._line(_surface(crease), 0.006, self.skin * (1 - 0.4 * lower))

    def _draw_nose(self) -> None:
        width, depth = self.nose
        front = _RADII[2]
        bridge = [0, -0.14, front]
        tip, left, right = [0, -0.01, front + depth], [-width, 0.02, front], [width, 0.02, front]
        self._fill(np.array([bridge, tip, right]), self.skin * 0.8)
        self._fill(np.array([bridge, tip, left]), self.skin * 0.93)
        self._fill(np.array([left, tip, right]), self.skin * 0.66)

    def _draw_mouth(self, smile: float, jaw: float) -> Array:
        """Draw the mouth; its corners (2, 3)."""
        half, lip = self.mouth
        half = half * (1 + 0.35 * smile - 0.15 * jaw)
        t = np.linspace(-1, 1, 11)
        arch = 1 - t**2
        bend = 0.128 - 0.05 * smile * t**2 + 0.012 * smile * arch + 0.02 * jaw
        x = t * half
        top, bottom = bend - 0.012 * jaw * arch, bend + (0.105 * jaw + 0.012 * smile) * arch
        lips = np.r_[np.c_[x, top - lip * arch], np.c_[x, bottom + 1.3 * lip * arch][::-1]]
        self._fill(_surface(lips), self.lips)
        self._fill(_surface(np.r_[np.c_[x, top], np.c_[x, bottom][::-1]]), np.array([60.0, 15, 20]))
        teeth = np.minimum(top + 0.022 * arch, bottom)
        self._fill(_surface(np.r_[np.c_[x, top], np.c_[x, teeth][::-1]]), np.full(3, 225.0))
        self._line(_surface(np.c_[x, top]), 0.006, self.lips * 0.6)
        for side in (-1, 1):
            fold = np.array([[side * 0.06, 0.03], [side * (0.1 + 0.04 * smile), 0.09]])
            self._line(_surface(fold), 0.007, self.skin * (0.93 - 0.3 * smile))
        return _surface(np.c_[x, top][[0, -1]])

    def _project(self, points: Array) -> Array:
        """(n, 3) points of the head to (n, 2) fractions of the picture."""
        return points @ self._turn[:, :2] + self._shift

    def _pixels(self, points: Array) -> NDArray[np.int32]:
        return np.round((self._project(points) * self._canvas_size - 0.5) * 16).astype(np.int32)

    def _fill(self, outline: Array, colour: Array) -> None:
        cv2.fillPoly(self._canvas, [self._pixels(outline)], _colour(colour), cv2.LINE_AA, 4)

    def _line(self, points: Array, width: float, colour: Array) -> None:
        thickness = max(round(width * self._canvas_size), 1)
        pixels = [self._pixels(points)]
        cv2.polylines(self._canvas, pixels, False, _colour(colour), thickness, cv2.LINE_AA, 4)

    def _disc(self, centre: Array, radius: float, colour: Array) -> None:
        x, y = self._pixels(centre)[0]
        size = round(radius * self._canvas_size * 16)
        cv2.circle(self._canvas, (int(x), int(y)), size, _colour(colour), -1, cv2.LINE_AA, 4)


def _surface(points: Array) -> Array:
    """(n, 2) points of the frontal face lifted onto the head: (n, 3)."""
    inside = 1 - ((points + np.array([0, 0.05])) ** 2 / _RADII[:2] ** 2).sum(1)
    return np.c_[points, _RADII[2] * np.sqrt(np.clip(inside, 0.05, None))]


def _rotation(angles: Array) -> Array:
    """Matrix by which row vectors turn: yaw to the right, pitch down, roll clockwise."""
    (cy, cp, cr), (sy, sp, sr) = np.cos(angles), np.sin(angles)
    yaw = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    pitch = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    roll = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
    return yaw @ pitch @ roll


def _colour(rgb: Array) -> Any:
    return tuple(np.clip(rgb, 0, 255).tolist())
