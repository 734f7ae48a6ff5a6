"""The setting of a video: the light, and a room out of focus behind the head."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tcae.data.synthetic.motion import check_range
from tcae.data.synthetic.scene import Light

Array = NDArray[np.float64]
Picture = NDArray[np.uint8]

_WIDTH = 2.0  # of the painted room, in sides of the crop


@dataclass(frozen=True)
class SettingConfig:
    """Light and background of the videos.

    Attributes:
        lamps: Strength of the lamps, from 0 (even light, as under a cloudy sky) to 1 (lamps in a
            dark room).
        side: Largest angle between a lamp and the camera, in degrees.
        tint: How coloured the light is, from 0 (white) to 1.
        clutter: Contrast of the background. 0 is a plain wall, 1 is usual.
        shadows: Share of the videos in which brows, nose, hair and hats cast shadows. In a sixth of
            them the light falls through the bars of a window or through leaves.
    """

    lamps: float = 0.8
    side: float = 75.0
    tint: float = 0.15
    clutter: float = 1.0
    shadows: float = 0.0

    def __post_init__(self) -> None:
        check_range("setting.lamps", self.lamps, 0, 1)
        check_range("setting.side", self.side, 0, 180)
        check_range("setting.tint", self.tint, 0, 1)
        check_range("setting.clutter", self.clutter, 0, 3)
        check_range("setting.shadows", self.shadows, 0, 1)


def light(random: np.random.Generator, config: SettingConfig) -> Light:
    """Return the light of one video: uneven light from all around, and one to three lamps."""
    warm = np.array([1.0, 0.0, -1.0])
    share = config.lamps * random.uniform(0.25, 1)
    ambient = np.zeros((9, 3))
    ambient[0] = (1 - share) * (1 + config.tint * random.uniform(-0.6, 0.6) * warm)
    uneven = random.normal([[0.12], [0.0], [0.0]], [[0.2], [0.12], [0.15]])
    ambient[1:4] = ambient[0] * (uneven + config.tint * random.normal(0, 0.1, (3, 3)))
    ambient[4:] = ambient[0] * random.normal(0, 0.04, (5, 1))
    count = int(random.integers(1, 4))
    strength = share * random.dirichlet([2.0] + [0.7] * (count - 1))
    away = np.radians(config.side) * np.sqrt(random.random(count))
    round_ = np.radians(random.uniform(-30, 210, count))  # from above rather than from below
    directions = np.stack(
        [np.sin(away) * np.cos(round_), np.sin(away) * np.sin(round_), np.cos(away)], 1
    )
    colours = 1 + config.tint * (
        random.uniform(-1, 1, (count, 1)) * warm + random.normal(0, 0.2, (count, 3))
    )
    plain = Light(
        ambient.astype(np.float32),
        directions.astype(np.float32),
        (strength[:, None] * np.clip(colours, 0.2, 2)).astype(np.float32),
    )
    return _hard(plain, random) if random.random() < config.shadows else plain


def _hard(soft: Light, random: np.random.Generator) -> Light:
    """Return light whose strongest lamp stands high or aside and casts shadows."""
    away, round_ = np.radians([random.uniform(25, 70), random.uniform(-10, 190)])
    direction = [np.sin(away) * np.cos(round_), np.sin(away) * np.sin(round_), np.cos(away)]
    key = int(soft.colours.sum(1).argmax())
    directions, colours = soft.directions.copy(), soft.colours.copy()
    directions[key] = direction
    share = random.uniform(0.45, 0.85)  # of all light
    fill = (1 - share) / (soft.ambient[0].mean() + np.delete(colours, key, 0).sum() / 3 + 0.05)
    colours *= min(fill, 1.0)
    hue = soft.colours[key] + np.float32(1e-6)
    colours[key] = 1.3 * share * hue / hue.mean()
    return Light(
        soft.ambient * np.float32(min(fill, 1.0)),
        directions,
        colours,
        shadow=random.uniform(0.75, 1),
        window=_window(random),
    )


def _window(random: np.random.Generator) -> NDArray[np.float32]:
    """Return `Light.window`: mostly nothing, else bars or leaves."""
    kind = random.random()
    if kind > 1 / 6:
        return np.zeros((0, 3), np.float32)
    phase = random.uniform(0, 2 * np.pi, 6)
    if kind > 1 / 12:
        turn, pace = (
            random.uniform(-0.4, 0.4) + random.choice([0, np.pi / 2]),
            random.uniform(5, 11),
        )
        return np.array([[pace * np.cos(turn), pace * np.sin(turn), phase[0]]], np.float32)
    waves = random.normal(0, random.uniform(2.5, 5), (6, 2))
    return np.c_[waves, phase].astype(np.float32)


def draw_body(picture: Picture, shoulders: NDArray[np.floating], colour: Array) -> None:
    """Paint, in place, the part of the body that the head's mesh lacks.

    Args:
        picture: (S, S, 3).
        shoulders: (n, 2) outline of the shoulders in pixels, from one end to the other.
        colour: (3,) of the clothes.
    """
    ends = shoulders[[0, -1]] + 1.5 * (shoulders[[0, -1]] - shoulders[[1, -2]])
    bottom = np.array([ends[1], ends[0]])
    bottom[:, 1] += 4 * len(picture)
    outline = np.concatenate([ends[:1], shoulders, ends[1:], bottom])
    fixed = np.round(outline * 16).astype(np.int32)
    cv2.fillPoly(picture, [fixed], np.clip(colour, 0, 255).tolist(), cv2.LINE_AA, 4)


class Background:
    """A painted room, larger than what one crop shows.

    Args:
        random: Random numbers for its content.
        size: Side of the crops in pixels.
        config: Options of the setting.
    """

    def __init__(self, random: np.random.Generator, size: int, config: SettingConfig) -> None:
        self._size, self._side = size, round(_WIDTH * size)
        self._clutter = config.clutter
        self._room = self._paint(random)

    def cut(self, matrix: Array) -> Picture:
        """Return the part of the room in a crop.

        Args:
            matrix: (2, 3) from places in the room to places in the crop, both as shares of the
                crop's side. The crop of a face that does not move shows 0 to 1.

        Returns:
            (size, size, 3).
        """
        # Pixel p of the room is at (p + 0.5) / size - margin, pixel q of the crop (q + 0.5) / size.
        margin = (_WIDTH - 1) / 2
        turned = matrix[:, :2]
        shift = turned @ np.full(2, 0.5 - margin * self._size) + matrix[:, 2] * self._size - 0.5
        return cv2.warpAffine(  # type: ignore[return-value]
            self._room, np.c_[turned, shift], (self._size, self._size),
            flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101,
        )  # fmt: skip

    def _paint(self, random: np.random.Generator) -> Picture:
        """Paint the wall, things before it, depth of field."""
        side = self._side
        base = random.uniform(25, 225) + random.normal(0, 10, 3)
        room = np.tile(base.astype(np.float32), (side, side, 1))
        for cells, strength in ((2, 35), (5, 22), (11, 12), (40, 6)):
            spread = strength * self._clutter * random.random()
            grey = random.normal(0, spread, (cells, cells, 1))
            noise = grey + random.normal(0, 0.25 * spread, (cells, cells, 3))
            room += cv2.resize(
                noise.astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC
            )
        for _ in range(int(random.integers(0, 14))):
            self._thing(room, random, base)
        blur = side / 128 * random.uniform(0.3, 5)
        return cv2.GaussianBlur(  # type: ignore[return-value]
            np.clip(room, 0, 255).astype(np.uint8), (0, 0), blur
        )

    def _thing(self, room: NDArray[np.float32], random: np.random.Generator, base: Array) -> None:
        """Paint a box, a disc or a bar of any colour."""
        change = self._clutter * (random.normal(0, 55) + random.normal(0, 16, 3))
        colour = np.clip(base + change, 0, 255).tolist()
        place = random.uniform(0, self._side, 2)
        extent = random.uniform(0.04, 0.35, 2) * self._side
        kind = random.random()
        if kind < 0.5:
            corners = np.array([place - extent / 2, place + extent / 2]).round().astype(int)
            cv2.rectangle(room, corners[0].tolist(), corners[1].tolist(), colour, -1)
        elif kind < 0.8:
            cv2.circle(room, place.astype(int).tolist(), int(extent[0] / 3), colour, -1)
        else:
            end = random.uniform(0, self._side, 2).astype(int).tolist()
            cv2.line(room, place.astype(int).tolist(), end, colour, 1 + int(extent[0] / 8))
