"""The page of `tcae demo`: a picture, a bar and a slider for every action unit and angle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from tcae import __version__
from tcae.data.action_units import in_words, with_words
from tcae.report.page import asset, page

_ANGLES = {
    "pitch": "positive: the nose is lowered",
    "yaw": "positive: to the right of the picture",
    "roll": "positive: clockwise",
}


def live_page(
    units: Sequence[str], doubts: Mapping[str, str], reader: str, editor: str, most_bytes: int
) -> str:
    """Return the page.

    Args:
        units: The action units, in their order.
        doubts: Why edits of a unit may not work on real faces; empty if they do.
        reader: Name of the weights that bars come from.
        editor: Name of the weights that sliders move a face by.
        most_bytes: Larger files the server does not take.
    """
    body = asset("live_page.html").format(
        units="".join(_unit(unit, doubts.get(unit, "")) for unit in units),
        angles="".join(_angle(name, about) for name, about in _ANGLES.items()),
        reader=escape(reader),
        editor=escape(editor),
        most_bytes=most_bytes,
        version=__version__,
    )
    return page("tcae demo", body, ["live_page.css"], ["live_page.js"])


def _unit(unit: str, doubt: str) -> str:
    star = f'<abbr class="wanted" title="{escape(doubt)}">*</abbr>' if doubt else ""
    shown = f'<span class="name"><b>{escape(unit)}</b> {escape(in_words(unit))}{star}</span>'
    return _row("unit", unit, shown, with_words(unit), (0, 1, 0.01))


def _angle(name: str, about: str) -> str:
    shown = f'<span class="name" title="{escape(about)}">{name} °</span>'
    return _row("angle", name, shown, name, (-90, 90, 0.5))


def _row(kind: str, name: str, shown: str, label: str, values: tuple[float, float, float]) -> str:
    """Return a row: its name, a bar and its number, a slider and its number.

    Args:
        kind: "unit" or "angle".
        name: What the script knows it by.
        shown: Its name as HTML.
        label: What it is called where it cannot be seen.
        values: The smallest and the largest one, and the steps of the slider.
    """
    name, label = escape(name), escape(label)
    least, most, step = values
    return (
        f'<div class="row {kind}" data-name="{name}">{shown}'
        f'<i role="meter" aria-label="{label}, read" aria-valuemin="{least}" '
        f'aria-valuemax="{most}"></i><span class="read">–</span>'
        f'<input type="range" min="{least}" max="{most}" step="{step}" disabled '
        f'aria-label="{label}, wanted"><output class="wanted">–</output></div>'
    )
