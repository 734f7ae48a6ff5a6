"""Charts as SVG, drawn by hand: they need no library and scale to any width."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
_DASHES = ("", "6 3", "2 2.5", "9 3 2 3")  # lines can be told apart without colours
_WIDTH, _HEIGHT = 360, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 10, 44, 30

Points = Sequence[tuple[float, float]]


def line_chart(
    title: str, lines: Mapping[str, Points], bottom: float = 0, log: bool = False
) -> str:
    """Draw lines through (x, y) points, each with its name, leaving out points that are not finite.

    Args:
        title: Stands above the chart.
        lines: Points by name.
        bottom: Where the y axis begins, unless a point is lower.
        log: The x values are logarithms (base 10). The axis shows the numbers themselves.
    """
    finite = {name: [p for p in line if all(map(math.isfinite, p))] for name, line in lines.items()}
    every = [point for line in finite.values() for point in line]
    if not every:
        return ""
    xs, ys = zip(*every, strict=True)
    frame = _Frame((min(xs), max(xs)), (min(bottom, *ys), max(ys)), log)
    parts = frame.axes(title)
    for i, (name, line) in enumerate(finite.items()):
        colour = COLOURS[i % len(COLOURS)]
        at = " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in line)
        style = f'fill="none" stroke="{colour}" stroke-width="1.8" {_dash(i)}'
        parts.append(f'<polyline points="{at}" {style}/>')
        if len(line) == 1:
            x, y = at.split(",")
            parts.append(f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>')
        parts.append(_key(i, name, colour))
    return _svg(title, parts)


def histogram(title: str, samples: Mapping[str, Sequence[float]], bins: int = 24) -> str:
    """Draw the shares of several samples over common logarithmic bins."""
    found = {n: np.maximum(np.asarray(v, float), 1e-5) for n, v in samples.items() if len(v)}
    if not found:
        return ""
    every = np.log10(np.concatenate(list(found.values())))
    edges = np.linspace(every.min(), max(every.max(), every.min() + 0.1), bins + 1)
    counts = {n: np.histogram(np.log10(v), edges)[0] / len(v) for n, v in found.items()}
    frame = _Frame((edges[0], edges[-1]), (0, max(float(c.max()) for c in counts.values())), True)
    parts = frame.axes(title)
    for i, (name, share) in enumerate(counts.items()):
        colour = COLOURS[i % len(COLOURS)]
        steps = [f"M{frame.x(edges[0]):.1f} {frame.y(0):.1f}"]
        for left, right, height in zip(edges, edges[1:], share, strict=False):
            steps.append(f"L{frame.x(left):.1f} {frame.y(height):.1f}H{frame.x(right):.1f}")
        path = "".join([*steps, f"V{frame.y(0):.1f}"])
        style = f'fill="{colour}" fill-opacity=".15" stroke="{colour}" {_dash(i)}'
        parts.append(f'<path d="{path}" {style}/>')
        parts.append(_key(i, name, colour))
    return _svg(title, parts)


def standalone(chart: str) -> str:
    """Return a chart as a file of its own, on white and with a font."""
    head = '<svg xmlns="http://www.w3.org/2000/svg" style="background:#fff;font:11px sans-serif" '
    return chart.replace("<svg ", head, 1) + "\n"


class _Frame:
    """The plane of a chart."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float], log: bool) -> None:
        self._x, self._y, self._log = x, y, log

    def x(self, value: float) -> float:
        low, high = self._x
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (value - low) / ((high - low) or 1)

    def y(self, value: float) -> float:
        low, high = self._y
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * (value - low) / ((high - low) or 1)

    def axes(self, title: str) -> list[str]:
        parts = [f'<text x="4" y="14" font-weight="600">{escape(title)}</text>']
        for share in (0, 0.5, 1):
            x, y = (low + share * (high - low) for low, high in (self._x, self._y))
            at = self.y(y)
            parts.append(f'<path d="M{_LEFT} {at:.1f}H{_WIDTH - _RIGHT}" stroke="#8884"/>')
            parts.append(f'<text x="{_LEFT - 4}" y="{at + 4:.1f}" text-anchor="end">{y:.3g}</text>')
            if self._x[0] == self._x[1] and share:
                continue
            anchor = ("start", "middle", "end")[round(share * 2)]
            words = f"{10**x:.3g}" if self._log else f"{x:.4g}"
            at = self.x(x)
            parts.append(
                f'<text x="{at:.1f}" y="{_HEIGHT - 12}" text-anchor="{anchor}">{words}</text>'
            )
        return parts


def _key(number: int, name: str, colour: str) -> str:
    x = 4 + number * (_WIDTH - 4) / len(COLOURS)
    line = f'<path d="M{x:.0f} 26h14" stroke="{colour}" stroke-width="2" {_dash(number)}/>'
    return f'{line}<text x="{x + 17:.0f}" y="30" fill="{colour}">{escape(name)}</text>'


def _dash(number: int) -> str:
    return f'stroke-dasharray="{_DASHES[number % len(_DASHES)]}"'


def _svg(title: str, parts: list[str]) -> str:
    head = f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">'
    return "\n".join([head, *parts, "</svg>"])
