"""Pages that are one file: style, scripts and pictures inside, nothing loaded from anywhere."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import PurePath
from urllib.parse import quote

import cv2
import numpy as np
from numpy.typing import NDArray

# A browser obeys this even if something in the page asked for more.
_POLICY = "default-src 'self' 'unsafe-inline' data: blob: file:"


def page(title: str, body: str, styles: Sequence[str] = (), scripts: Sequence[str] = ()) -> str:
    """Return a page.

    Args:
        title: Of the page, as text.
        body: Its HTML.
        styles: Style sheets among the assets, after ``page.css``, which every page has.
        scripts: Scripts among the assets, run in this order after the body.
    """
    style = "\n".join(map(asset, ["page.css", *styles]))
    code = "\n".join(f"<script>{asset(name)}</script>" for name in scripts)
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width,initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            f"<title>{escape(title)}</title><style>{style}</style></head><body>",
            body,
            code,
            "</body></html>\n",
        ]
    )


@cache
def asset(name: str) -> str:
    """Return the text of a file that ships with the pages."""
    return (files("tcae.report") / "assets" / name).read_text(encoding="utf-8")


def address_of(path: str) -> str:
    """Return the address of a file beside the page. Its name may be in any encoding."""
    return quote(path, errors="surrogateescape")


def data_address(content: bytes, kind: str) -> str:
    """Return an address that holds its content, for a MIME type such as ``image/png``."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def picture_address(rgb: NDArray[np.uint8], suffix: str = ".png") -> str:
    """Return an address that holds a picture (H, W, 3), as .png, .jpg or .webp."""
    content = cv2.imencode(suffix, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].tobytes()
    return data_address(content, {".jpg": "image/jpeg"}.get(suffix, f"image/{suffix[1:]}"))


def download_link(content: str | None, name: str, beside: str) -> str:
    """Return a link that saves a table.

    Args:
        content: The table as CSV; None if the page does not hold it.
        name: What it is saved as.
        beside: Where it lies if the page does not hold it, from the page.
    """
    if content is None:
        address, name = address_of(beside), PurePath(beside).name
    else:
        address = data_address(content.encode("utf-8", "surrogateescape"), "text/csv")
    return f'<a class="button" href="{address}" download="{escape(name)}">Table as CSV</a>'
