"""The page of pictures: each with its faces marked, and a bar for every action unit."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import PurePath
from typing import NamedTuple

import numpy as np

from tcae import __version__
from tcae.data.action_units import in_words, with_words
from tcae.report.face_summary import picture_verdict
from tcae.report.face_table import FaceTable
from tcae.report.overlay import FACE_COLOURS, MarkedFace
from tcae.report.page import download_link, page


class ShownPicture(NamedTuple):
    """A picture of the page.

    Attributes:
        name: Of its file.
        address: Where the picture with its faces marked is, or one that holds it.
        faces: Its faces.
    """

    name: str
    address: str
    faces: Sequence[MarkedFace]


def picture_page(
    title: str, table: FaceTable, pictures: Sequence[ShownPicture], beside: str
) -> str:
    """Return the page.

    Args:
        title: Of the page.
        table: The rows of the pictures.
        pictures: The pictures.
        beside: Where the table lies from the page, if it is too large to be in it.
    """
    link = download_link(table.text, f"{PurePath(title).stem}.csv", beside)
    words = escape(picture_verdict(table, len(pictures)))
    cards = "".join(_card(table, picture, len(pictures) == 1) for picture in pictures)
    note = f"Bars show the columns {table.scale}. A unit in bold is on: {table.rule}."
    body = (
        f'<header><div><h1>{escape(title)}</h1><p class="verdict">{words}</p></div>{link}</header>'
        f"<main{' class=one' * (len(pictures) == 1)}>{cards}</main>"
        f'<footer class="dim"><p>{escape(note)}</p><p>Made by tcae {__version__}.</p></footer>'
    )
    return page(f"{title}: faces", body, ["picture_page.css"])


def _card(table: FaceTable, picture: ShownPicture, alone: bool) -> str:
    faces = "".join(_face(table, k, face, alone) for k, face in enumerate(picture.faces))
    words = f'<div class="faces">{faces}</div>' if faces else '<p class="dim">No face.</p>'
    name = escape(picture.name)
    title = "" if alone else f"<h2>{name}</h2>"
    return (
        f'<article class="card picture"><img loading="lazy" alt="{name}, faces marked" '
        f'src="{picture.address}"><div class="words">{title}{words}</div></article>'
    )


def _face(table: FaceTable, k: int, face: MarkedFace, alone: bool) -> str:
    units = [unit for unit, on in zip(table.units, face.present, strict=True) if on]
    named = ", ".join(in_words(unit) or unit for unit in units) or "no action unit"
    colour = f"--colour:var(--face{k})" if k < len(FACE_COLOURS) else "--colour:var(--dim)"
    bars = "".join(
        _bar(unit, share, share * table.full, on)
        for unit, share, on in zip(table.units, face.shares.tolist(), face.present, strict=True)
    )
    return (
        f'<details class="face" style="{colour}"{" open" * alone}><summary><b>face {face.face}</b> '
        f"{escape(named)}</summary>{bars}</details>"
    )


def _bar(unit: str, share: float, value: float, on: bool) -> str:
    known = not np.isnan(share)
    number = f"{value:.2f}" if known else "–"
    width = min(max(share, 0), 1) if known else 0
    return (
        f'<div class="unit{" on" * bool(on)}"><span>{escape(with_words(unit))}</span>'
        f'<i style="--share:{width:.3f}"></i><span>{number}</span></div>'
    )
