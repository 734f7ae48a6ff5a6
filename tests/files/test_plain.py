from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcae.files.plain import differences, from_plain, to_plain


@dataclass(frozen=True)
class Inner:
    rate: float = 0.5
    windows: tuple[tuple[float, float], ...] = ((0.0, 1.0),)
    kind: Literal["a", "b"] = "a"

    def __post_init__(self) -> None:
        if self.rate < 0:
            raise ValueError("rate must not be negative")


@dataclass(frozen=True)
class Outer:
    out: Path | None = None
    steps: int | None = None
    flag: bool = False
    name: str = ""
    inner: Inner = field(default_factory=Inner)


inners = st.builds(
    Inner,
    rate=st.floats(0, 1e6),
    windows=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1))).map(tuple),
    kind=st.sampled_from(["a", "b"]),
)
outers = st.builds(
    Outer,
    out=st.none() | st.just(Path("some/where")),
    steps=st.none() | st.integers(),
    flag=st.booleans(),
    name=st.text(),
    inner=inners,
)


@given(outers)
def test_a_dataclass_survives_the_round_trip(outer: Outer) -> None:
    assert from_plain(Outer, to_plain(outer), "f") == outer


def test_plain_values_are_plain() -> None:
    plain = to_plain(Outer(out=Path("x")))
    assert plain == {
        "out": "x",
        "steps": None,
        "flag": False,
        "name": "",
        "inner": {"rate": 0.5, "windows": [[0.0, 1.0]], "kind": "a"},
    }


def test_a_field_left_out_keeps_its_default_and_an_int_serves_as_a_float() -> None:
    assert from_plain(Outer, {"inner": {"rate": 2}}, "f") == Outer(inner=Inner(rate=2.0))
    assert isinstance(from_plain(Inner, {"rate": 2}, "f").rate, float)


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"step": 1}, r"f.yaml: step: unknown field, did you mean steps\?"),
        ({"inner": {"rat": 1}}, r"f.yaml: inner.rat: unknown field, did you mean inner.rate\?"),
        ({"inner": {"rate": "fast"}}, r"f.yaml: inner.rate: need float, got 'fast'"),
        ({"inner": {"rate": True}}, r"f.yaml: inner.rate: need float, got True"),
        ({"inner": {"kind": "c"}}, r"f.yaml: inner.kind: need one of a, b, got 'c'"),
        ({"inner": {"windows": [[0, 1, 2]]}}, r"f.yaml: inner.windows\[0\]: need 2 values, got 3"),
        ({"inner": {"windows": [[0, "x"]]}}, r"f.yaml: inner.windows\[0\]\[1\]: need float"),
        ({"inner": {"rate": -1}}, r"f.yaml: inner: rate must not be negative"),
        ({"inner": 3}, r"f.yaml: inner: need named fields"),
        ({"steps": 1.5}, r"f.yaml: steps: need int or nothing, got 1.5"),
        ({"flag": 1}, r"f.yaml: flag: need bool, got 1"),
        ([1], r"f.yaml: content: need named fields"),
    ],
)
def test_what_does_not_fit_is_named(plain: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_plain(Outer, plain, "f.yaml")


def test_differences_are_found_wherever_they_are() -> None:
    a = {"x": {"y": 1, "same": 0}, "only_a": 1}
    b = {"x": {"y": 2, "same": 0}, "only_b": 2}
    assert differences(a, b) == {"x.y": (1, 2), "only_a": (1, None), "only_b": (None, 2)}
    assert differences(a, a) == {}
