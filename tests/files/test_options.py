"""Marks on options: found on their fields, and obeyed when saved values are read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import pytest

from tcae.files.options import (
    Before,
    Formerly,
    FormerValues,
    Resume,
    groups,
    is_free_on_resume,
    marks,
    retired,
)
from tcae.files.plain import from_plain, to_plain, up_to_date


@retired(mirror=True)
@dataclass(frozen=True)
class Paint:
    colour: Annotated[str, Before("grey")] = "red"
    betas: Annotated[tuple[float, float], Before((0.5, 0.25))] = (0.75, 0.75)
    gloss: Annotated[int, "a note", Formerly("shine"), Resume.FREE] = 1
    coats: int = 2


@dataclass(frozen=True)
class Logs:
    every: int = 3


@retired(wheels=4)
@dataclass(frozen=True)
class Car:
    paint: Annotated[Paint, "a note"] = field(default_factory=Paint)
    logs: Annotated[Logs, Resume.FREE] = field(default_factory=Logs)
    again: Annotated[bool, Resume.NOT_SAVED] = False
    doors: int = 3


def test_marks_are_found_by_kind() -> None:
    assert marks(Paint, Before) == {"colour": Before("grey"), "betas": Before((0.5, 0.25))}
    assert marks(Paint, Resume) == {"gloss": Resume.FREE}
    assert marks(Car, Resume) == {"logs": Resume.FREE, "again": Resume.NOT_SAVED}
    assert marks(Logs, Before) == {}
    assert groups(Car) == {"paint": Paint, "logs": Logs}


@pytest.mark.parametrize(
    ("name", "free"),
    [
        ("paint.gloss", True),
        ("paint.coats", False),
        ("paint", False),
        ("logs", True),
        ("logs.every", True),
        ("again", True),
        ("doors", False),
        ("doors.gloss", False),
        ("gloss", False),
    ],
)
def test_an_option_is_free_by_its_own_mark_or_its_groups(name: str, free: bool) -> None:
    assert is_free_on_resume(Car, name) is free


def test_options_newer_than_the_values_have_what_was_before() -> None:
    older = {"colour": "grey", "betas": [0.5, 0.25]}
    assert up_to_date(Car, {}, "f") == {"paint": older}
    assert up_to_date(Car, {"paint": {"coats": 1}, "logs": {}}, "f") == {
        "paint": {"coats": 1, **older},
        "logs": {},
    }
    assert from_plain(Car, {}, "f") == Car(Paint("grey", (0.5, 0.25)))
    assert from_plain(Paint, {"colour": "blue"}, "f") == Paint("blue", (0.5, 0.25))


def test_an_option_is_read_by_its_former_name() -> None:
    assert from_plain(Paint, {"shine": 5}, "f").gloss == 5
    plain = to_plain(Car(Paint(gloss=5)))
    older = plain | {"paint": {k: v for k, v in plain["paint"].items() if k != "gloss"}}
    older["paint"]["shine"] = 5
    assert up_to_date(Car, older, "f") == plain
    with pytest.raises(ValueError, match=r"f: shine: unknown field"):
        from_plain(Paint, {"shine": 5, "gloss": 5}, "f")
    with pytest.raises(ValueError, match=r"f: gloss: need int, got 'much'"):
        from_plain(Paint, {"shine": "much"}, "f")


@dataclass(frozen=True)
class Roof:
    kind: Annotated[str, FormerValues(((False, "none"), (True, "hard")))] = "soft"


def test_a_former_value_is_read_as_what_it_is_called_now() -> None:
    assert [from_plain(Roof, {"kind": old}, "f").kind for old in (False, True)] == ["none", "hard"]
    assert from_plain(Roof, {"kind": "hard"}, "f") == Roof("hard")
    assert from_plain(Roof, {}, "f") == Roof("soft")
    with pytest.raises(ValueError, match=r"f: kind: need str, got \[True\]"):
        from_plain(Roof, {"kind": [True]}, "f")


def test_values_of_today_stay_as_they_are() -> None:
    plain = to_plain(Car())
    assert up_to_date(Car, plain, "f") == plain
    assert up_to_date(Car, 3, "f") == 3  # `from_plain` says what is wrong


def test_a_retired_option_is_read_with_its_one_value() -> None:
    saved = {"wheels": 4, "paint": {"mirror": True, "colour": "blue", "betas": [0, 0]}}
    assert up_to_date(Car, saved, "f") == {"paint": {"colour": "blue", "betas": [0, 0]}}
    assert from_plain(Car, saved, "f") == Car(Paint("blue", (0.0, 0.0)))
    assert saved["wheels"] == 4  # the caller's mapping is as it was


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        ({"wheels": 3}, r"f\.yaml: wheels: this option is retired, it can only be 4, got 3"),
        ({"paint": {"mirror": False}}, r"f\.yaml: paint\.mirror: .* can only be True, got False"),
        ({"mirror": True}, r"f\.yaml: mirror: unknown field"),
    ],
)
def test_a_retired_option_with_another_value_is_refused_by_name(
    saved: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        from_plain(Car, saved, "f.yaml")
