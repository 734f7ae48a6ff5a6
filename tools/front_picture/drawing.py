"""Layout and typography of the front picture, drawn at twice the size at which it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tcae.report.panels import colour_wheel, flow_colours

Picture = NDArray[np.uint8]
Numbers = NDArray[np.floating]
Colour = tuple[int, int, int]

WIDTH = 1600
_MARGIN, _GAP = 40, 16
_TILE = (WIDTH - 2 * _MARGIN - 5 * _GAP) // 6
_LEFT = 300  # where curves begin; their names stand before it
_STRIP = 11  # pictures over the curves
_CURVE, _BETWEEN = 76, 26
_INK, _GREY, _LINE = (31, 35, 40), (89, 99, 110), (209, 217, 224)
_TRUTH, _MODEL = (203, 210, 218), (9, 105, 218)
_FONT = cv2.FontFace("sans")
_REGULAR, _BOLD = 400, 600
_SHIFT = 4  # binary places of the coordinates that OpenCV draws at


class Frames(NamedTuple):
    """Two frames and what the model makes of them.

    Pictures are (S, S, 3) uint8 RGB, flows (2, S, S) in pixels.
    """

    source: Picture
    target: Picture
    au_flow: Numbers
    pose_flow: Numbers
    au_changed: Picture
    pose_changed: Picture


class Curve(NamedTuple):
    """An action unit over time: its true intensities (T,) and its probabilities (T,)."""

    unit: str
    words: str
    intensities: Numbers
    probabilities: Numbers

    @property
    def correlation(self) -> float:
        """Pearson's, over the clip."""
        return float(np.corrcoef(self.intensities, self.probabilities)[0, 1])


class Clip(NamedTuple):
    """A video of T frames.

    Attributes:
        pictures: (T, S, S, 3) uint8 RGB.
        times: (T,) seconds.
        shown: Numbers of the two frames that stand above.
    """

    pictures: Picture
    times: Numbers
    shown: tuple[int, int]


def draw(frames: Frames, clip: Clip, curves: Sequence[Curve]) -> Picture:
    """Return the whole picture, (H, 1600, 3) uint8 RGB."""
    strip_top = 64 + _TILE + 92
    side = (WIDTH - _MARGIN - _LEFT - (_STRIP - 1) * 8) // _STRIP
    first = strip_top + side + _BETWEEN
    height = first + len(curves) * (_CURVE + _BETWEEN) + 44
    canvas = np.full((height, WIDTH, 3), 255, np.uint8)
    _draw_tiles(canvas, frames, clip)
    _draw_key(canvas, strip_top - 26)
    _draw_strip(canvas, clip, strip_top, side)
    bottom = first + len(curves) * (_CURVE + _BETWEEN) - _BETWEEN
    for frame in clip.shown:
        x = round(_x(clip.times[frame], clip.times))
        cv2.line(canvas, (x, first - 8), (x, bottom), _LINE, 2)
    for i, curve in enumerate(curves):
        _draw_curve(canvas, curve, clip.times, first + i * (_CURVE + _BETWEEN))
    _draw_seconds(canvas, clip.times, bottom)
    return canvas


def _draw_tiles(canvas: Picture, frames: Frames, clip: Clip) -> None:
    seconds = clip.times[clip.shown[1]] - clip.times[clip.shown[0]]
    titles = (
        "a frame",
        f"{seconds:.1f} s later",
        "AU flow",
        "pose flow",
        "AU changed",
        "pose changed",
    )
    for i, (title, values) in enumerate(zip(titles, frames, strict=True)):
        left = _MARGIN + i * (_TILE + _GAP)
        _write(canvas, title, (left, 46), _INK, 26, _BOLD)
        tile = canvas[64 : 64 + _TILE, left : left + _TILE]
        tile[:] = _flow_tile(values) if title.endswith("flow") else _resized(values, _TILE)
        cv2.rectangle(canvas, (left, 64), (left + _TILE - 1, 63 + _TILE), _LINE, 1)


def _flow_tile(flow: Numbers) -> Picture:
    """Return a flow in colours, with the key to them."""
    longest = float(np.quantile(np.hypot(*flow), 0.99))
    tile = _resized(flow_colours(flow, longest), _TILE)
    cv2.circle(tile, (_TILE - 32, _TILE - 32), 25, (255, 255, 255), -1, cv2.LINE_AA)
    wheel, corner = colour_wheel(44), tile[-54:-10, -54:-10]
    corner[:] = np.minimum(wheel, corner)
    return tile


def _draw_key(canvas: Picture, y: int) -> None:
    """Draw the key: what is drawn how."""
    right = _write(canvas, "Action units over time", (_MARGIN, y), _INK, 26, _BOLD)
    left = right + 60
    cv2.rectangle(canvas, (left, y - 19), (left + 36, y + 1), _TRUTH, -1)
    left = _write(canvas, "true intensity", (left + 48, y), _GREY, 24, _REGULAR) + 44
    cv2.line(canvas, (left, y - 8), (left + 36, y - 8), _MODEL, 4, cv2.LINE_AA)
    _write(canvas, "probability, read from the AU embedding", (left + 48, y), _GREY, 24, _REGULAR)


def _draw_strip(canvas: Picture, clip: Clip, top: int, side: int) -> None:
    """Draw pictures over the curves, each the one of its middle's time."""
    for i in range(_STRIP):
        left = _LEFT + round(i * (WIDTH - _MARGIN - _LEFT - side) / (_STRIP - 1))
        share = (left + side / 2 - _LEFT) / (WIDTH - _MARGIN - _LEFT)
        picture = clip.pictures[round(share * (len(clip.times) - 1))]
        canvas[top : top + side, left : left + side] = _resized(picture, side)


def _draw_curve(canvas: Picture, curve: Curve, times: Numbers, top: int) -> None:
    bottom = top + _CURVE
    end = _write(canvas, curve.unit, (_MARGIN, top + 34), _INK, 26, _BOLD)
    _write(canvas, f"r = {curve.correlation:.2f}", (end + 22, top + 34), _GREY, 24, _REGULAR)
    _write(canvas, curve.words, (_MARGIN, top + 66), _GREY, 24, _REGULAR)
    truth = _points(times, curve.intensities, bottom)
    corners = _points(times[[-1, 0]], np.zeros(2), bottom, times)
    cv2.fillPoly(canvas, [np.concatenate([truth, corners])], _TRUTH, cv2.LINE_AA, _SHIFT)
    cv2.line(canvas, (_LEFT, bottom), (WIDTH - _MARGIN, bottom), _LINE, 2)
    line = _points(times, curve.probabilities, bottom)
    cv2.polylines(canvas, [line], False, _MODEL, 3, cv2.LINE_AA, _SHIFT)


def _draw_seconds(canvas: Picture, times: Numbers, y: int) -> None:
    for second in range(0, round(float(times[-1])) + 1, 2):
        x = _x(min(second, times[-1]), times)
        words = f"{second} s" if second else "0"
        _, _, width, _ = cv2.getTextSize((0, 0), words, (0, 0), _FONT, 22, _REGULAR)
        at = min(max(round(x - width / 2), _LEFT), WIDTH - _MARGIN - width)
        _write(canvas, words, (at, y + 34), _GREY, 22, _REGULAR)


def _points(
    times: Numbers, values: Numbers, bottom: int, span: Numbers | None = None
) -> NDArray[np.int32]:
    """Return where values in [0, 1] lie, as OpenCV wants them: (T, 2)."""
    x = _x(times, times if span is None else span)
    at = np.stack([x, bottom - _CURVE * values], 1)
    return np.round(at * 2**_SHIFT).astype(np.int32)


def _x(time: Numbers, times: Numbers) -> Numbers:
    return _LEFT + (WIDTH - _MARGIN - _LEFT) * (time - times[0]) / (times[-1] - times[0])


def _resized(picture: Picture, side: int) -> Picture:
    shrinks = side < len(picture)
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (side, side), interpolation=how), np.uint8)


def _write(
    canvas: Picture, text: str, at: tuple[int, int], colour: Colour, size: int, weight: int
) -> int:
    """Write a line whose baseline begins at `at`. Return where it ends."""
    end, _ = cv2.putText(canvas, text, at, colour, _FONT, size, weight)
    return int(end[0])
