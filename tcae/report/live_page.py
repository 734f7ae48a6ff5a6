"""The page of `tcae demo`: a picture, a bar and a slider for every action unit and angle."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from html import escape

from tcae import __version__
from tcae.data.action_units import in_words
from tcae.report.page import asset, page

_ANGLES = {
    "pitch": "positive: the nose is lowered",
    "yaw": "positive: to the right of the picture",
    "roll": "positive: clockwise",
}


def live_page(units: Sequence[str], unmeasured: Collection[str], reader: str, editor: str) -> str:
    """Return the page.

    Args:
        units: The action units, in their order.
        unmeasured: Those of which nobody knows how well edits work on real faces.
        reader: Name of the weights that bars come from.
        editor: Name of the weights that sliders move a face by.
    """
    body = asset("live_page.html").format(
        units="".join(_unit(unit, unit in unmeasured) for unit in units),
        angles="".join(
            _row(name, name, f"{name} °", about, "angle") for name, about in _ANGLES.items()
        ),
        reader=escape(reader),
        editor=escape(editor),
        version=__version__,
    )
    return page("tcae demo", body, ["live_page.css"], ["live_page.js"])


def _unit(unit: str, unmeasured: bool) -> str:
    words = in_words(unit)
    star = '<abbr title="not measured on real faces">*</abbr>' if unmeasured else ""
    shown = f"<b>{escape(unit)}</b> {escape(words)}{star}" if words else f"{escape(unit)}{star}"
    return _row(unit, shown, f"{unit} {words}".strip(), "", "unit")


def _row(name: str, shown: str, label: str, about: str, kind: str) -> str:
    """Return a row: name, bar, its number, slider, its number."""
    name, label = escape(name), escape(label)
    steps = 'min="0" max="1" step="0.01"' if kind == "unit" else 'min="-30" max="30" step="0.5"'
    return (
        f'<div class="row {kind}" data-name="{name}"><span class="name" title="{escape(about)}">'
        f'{shown}</span><i role="meter" aria-label="{label}, read" aria-valuemin="-90" '
        f'aria-valuemax="90"></i><span class="read">–</span>'
        f'<input type="range" {steps} disabled aria-label="{label}, wanted">'
        f'<output class="wanted">–</output></div>'
    )
