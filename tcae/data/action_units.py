"""What action units are called in words, as the Facial Action Coding System names them."""

from __future__ import annotations

import re

NAMES = {
    1: "inner brow raiser",
    2: "outer brow raiser",
    4: "brow lowerer",
    5: "upper lid raiser",
    6: "cheek raiser",
    7: "lid tightener",
    9: "nose wrinkler",
    10: "upper lip raiser",
    11: "nasolabial deepener",
    12: "lip corner puller",
    13: "sharp lip puller",
    14: "dimpler",
    15: "lip corner depressor",
    16: "lower lip depressor",
    17: "chin raiser",
    18: "lip pucker",
    20: "lip stretcher",
    22: "lip funneler",
    23: "lip tightener",
    24: "lip pressor",
    25: "lips part",
    26: "jaw drop",
    27: "mouth stretch",
    28: "lip suck",
    43: "eyes closed",
    45: "blink",
    46: "wink",
}
"""Names by the number of the unit."""


def in_words(unit: str) -> str:
    """Return the name of an action unit in words, empty if it is none that is known.

    Args:
        unit: Its name in tables, such as "AU12", "AU2" or "AU02".

    Example:
        >>> in_words("AU12"), in_words("AU04"), in_words("mean")
        ('lip corner puller', 'brow lowerer', '')
    """
    number = re.fullmatch(r"AU0*(\d+)", unit)
    return NAMES.get(int(number[1]), "") if number else ""


def with_words(unit: str) -> str:
    """Return the name of an action unit with what it is called in words.

    Example:
        >>> with_words("AU12"), with_words("AU99")
        ('AU12 lip corner puller', 'AU99')
    """
    return f"{unit} {in_words(unit)}".rstrip()
