"""Tables of text as people and their programs write them."""

from __future__ import annotations

import csv
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterable, Iterator
from itertools import chain
from os import PathLike
from typing import TextIO


def open_table(path: str | PathLike[str]) -> TextIO:
    """Open a table for `separated`. Names of files in it may be in any encoding, as the packer's.

    Raises:
        ValueError: It is UTF-16, as some programs save "Unicode text".
        OSError: The file cannot be read.
    """
    with open(path, "rb") as file:
        if file.read(2) in (BOM_UTF16_LE, BOM_UTF16_BE):
            raise ValueError(f"{path}: is UTF-16 text; save it as UTF-8")
    return open(path, newline="", encoding="utf-8-sig", errors="surrogateescape")


def encoding_hint(names: Iterable[str]) -> str:
    """Return what to add to a message that names of a table are not found, "" if they are UTF-8."""
    try:
        "".join(names).encode()
    except UnicodeEncodeError:
        return "; some of its names are not UTF-8: perhaps save it as such"
    return ""


def separated(file: TextIO, column: str) -> tuple[Iterator[str], str]:
    """Return the lines of a table, and what separates their cells: a comma, semicolon or tab.

    Args:
        file: The open table.
        column: The name of a column that its header must have.
    """
    first = file.readline()
    for separator in ",;\t":
        cells = next(csv.reader([first], delimiter=separator), [])
        if column in (cell.strip() for cell in cells):
            return chain([first], file), separator
    return chain([first], file), ","


def dict_reader(file: TextIO, column: str) -> csv.DictReader[str]:
    """Return a reader of a table by the names of its columns, without the spaces around them."""
    lines, separator = separated(file, column)
    reader = csv.DictReader(lines, delimiter=separator, skipinitialspace=True)
    reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
    return reader
