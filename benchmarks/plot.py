"""The measurements as a plot, drawn without a library, so that its text can be compared."""

from __future__ import annotations

import math
from collections.abc import Callable
from xml.sax.saxutils import escape

from benchmarks.records import (
    LOSES,
    OURS,
    Group,
    Record,
    advantage,
    groups,
    machine,
    rivals,
    unique,
)

# One line per case and one dot per provider. Speed over eager grows to the right.

_COLOURS = ["#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999", "#000000"]
_LEFT, _WIDTH, _LINE, _TOP = 440, 520, 18, 70


def plot(measured: Record) -> str:
    """Return the plot, as SVG."""
    compared = groups(measured, variants=False)
    names = unique([OURS, *(name for group in compared.values() for name in group)])
    colours = {name: _COLOURS[min(i, len(_COLOURS) - 1)] for i, name in enumerate(names)}
    speeds = [r["speed_over_eager"] for group in compared.values() for r in group.values()]
    low, high = math.floor(math.log2(min(speeds))), math.ceil(math.log2(max(speeds)))
    span = max(high - low, 1)

    def at(speed: float) -> float:
        return _LEFT + _WIDTH * (math.log2(speed) - low) / span

    height = _TOP + _LINE * len(compared) + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDTH + 30}" height="{height}"'
        ' font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
        text(
            10,
            18,
            f"Speed over the eager composition, logarithmic; {LOSES}: something else was faster",
            size=13,
        ),
        text(10, 34, machine(measured)),
    ]
    parts += _legend(colours)
    parts += _scale(range(low, high + 1), at, height)
    for i, (name, group) in enumerate(compared.items()):
        parts += _line(_TOP + _LINE * (i + 0.7), name, group, colours, at)
    return "\n".join([*parts, "</svg>\n"])


def _legend(colours: dict[str, str]) -> list[str]:
    parts, x = [], 14.0
    for name, colour in colours.items():
        parts += [dot(x, 50, colour), text(x + 8, 54, name)]
        x += 30 + 6.5 * len(name)
    return parts


def _scale(powers: range, at: Callable[[float], float], height: int) -> list[str]:
    parts = []
    for power in powers:
        x = at(2.0**power)
        colour = "#444444" if power == 0 else "#dddddd"
        parts.append(
            f'<path d="M{x:.1f} {_TOP}V{height - 30}" stroke="{colour}" stroke-width="1"/>'
        )
        times = f"{2**power}x" if power >= 0 else f"1/{2**-power}x"
        parts.append(text(x, height - 14, times, anchor="middle"))
    return parts


def _line(
    y: float, name: str, group: Group, colours: dict[str, str], at: Callable[[float], float]
) -> list[str]:
    loses = any(advantage(group, other) < 1 for other in rivals(group))
    label = f"{LOSES} {name}" if loses else name
    parts = [text(_LEFT - 10, y + 4, label, anchor="end", colour="#b00020" if loses else "black")]
    parts.append(f'<path d="M{_LEFT} {y:.1f}h{_WIDTH}" stroke="#eeeeee"/>')
    for other in reversed(colours):  # ours on top
        if other in group:
            parts.append(dot(at(group[other]["speed_over_eager"]), y, colours[other]))
    return parts


def dot(x: float, y: float, colour: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}" fill-opacity="0.85"/>'


def text(
    x: float, y: float, words: str, *, anchor: str = "start", size: int = 11, colour: str = "black"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
        f'fill="{colour}">{escape(words)}</text>'
    )
