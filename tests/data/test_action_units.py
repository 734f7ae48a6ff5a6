from __future__ import annotations

import pytest

from tcae.data.action_units import in_words, with_words
from tcae.data.synthetic.expression import ACTION_UNITS


@pytest.mark.parametrize(
    ("unit", "words"),
    [
        ("AU1", "inner brow raiser"),
        ("AU02", "outer brow raiser"),
        ("AU12", "lip corner puller"),
        ("AU10", "upper lip raiser"),
        ("AU45", "blink"),
    ],
)
def test_units_are_named_as_in_the_coding_system(unit: str, words: str) -> None:
    assert in_words(unit) == words
    assert with_words(unit) == f"{unit} {words}"


@pytest.mark.parametrize("name", ["mean", "AU", "AU99", "au_000", "AU<12>", "AU0"])
def test_what_is_no_known_unit_keeps_its_name(name: str) -> None:
    assert in_words(name) == ""
    assert with_words(name) == name


def test_every_rendered_unit_has_words() -> None:
    assert all(map(in_words, ACTION_UNITS))
