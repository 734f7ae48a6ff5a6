"""Dataclasses to plain values and back, with errors that name the field."""

from __future__ import annotations

import dataclasses
import difflib
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

from tcae.files.options import Before, Formerly, FormerValues, groups, marks, retired_options

T = TypeVar("T")

# YAML 1.1 takes 1e-3 for text: its numbers with an exponent need a point and a sign.
_POWER_OF_TEN = r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+"


def to_plain(value: Any) -> Any:
    """Return a dataclass as dicts, lists, strings, numbers, booleans and None, as in JSON."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [to_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def from_plain(cls: type[T], plain: Any, source: str, prefix: str = "") -> T:
    """Build a dataclass from what `to_plain` returned, today or in an older version.

    A field left out has the value of `Before` if it is marked with one, else its default.

    Args:
        cls: The dataclass.
        plain: Mapping from field name to plain value.
        source: Where the values come from, named in errors (a file's path).
        prefix: Dotted path of the field that holds this dataclass.

    Raises:
        ValueError: A field is unknown, missing, of the wrong type, or retired and has another value
            than the one it is read with. The error gives its dotted name.
    """
    return _build(cls, up_to_date(cls, plain, source, prefix), source, prefix)


def up_to_date(cls: type, plain: Any, source: str, prefix: str = "") -> Any:
    """Return plain values that an older version saved as they would be saved today.

    Fields marked with `Formerly` get their new name, values that `FormerValues` has theirs. Fields
    marked with `Before` are added where they are missing. Retired fields are left out.

    Args:
        cls: The dataclass.
        plain: Mapping from field name to plain value; anything else is returned as it is.
        source: Where the values come from, named in errors (a file's path).
        prefix: Dotted path of the field that holds this dataclass.

    Raises:
        ValueError: A retired field has another value than the one it is read with.
    """
    if not isinstance(plain, Mapping):
        return plain
    for name, value in retired_options(cls).items():
        if name in plain and plain[name] != value:
            raise ValueError(
                f"{source}: {prefix}{name}: this option is retired, it can only be {value!r}, "
                f"got {plain[name]!r}"
            )
    found = {name: value for name, value in plain.items() if name not in retired_options(cls)}
    for name, formerly in marks(cls, Formerly).items():
        if formerly.name in found and name not in found:
            found[name] = found.pop(formerly.name)
    for name, former in marks(cls, FormerValues).items():
        if name in found:
            value = found[name]
            found[name] = next((new for old, new in former.pairs if old == value), value)
    for name, before in marks(cls, Before).items():
        found.setdefault(name, to_plain(before.value))
    for name, group in groups(cls).items():
        values = up_to_date(group, found.get(name, {}), source, f"{prefix}{name}.")
        if name in found or values:
            found[name] = values
    return found


def differences(a: Any, b: Any, prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """Return the dotted names of the fields in which two plain mappings differ, with both values.

    Example:
        >>> differences({"x": {"y": 1}, "z": 0}, {"x": {"y": 2}, "z": 0})
        {'x.y': (1, 2)}
    """
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        found: dict[str, tuple[Any, Any]] = {}
        for name in [*a, *(n for n in b if n not in a)]:
            found |= differences(a.get(name), b.get(name), f"{prefix}{name}.")
        return found
    return {} if a == b else {prefix.rstrip("."): (a, b)}


def _build(cls: type[T], plain: Any, source: str, prefix: str) -> T:
    """Return the dataclass of plain values that are up to date."""
    if not isinstance(plain, Mapping):
        raise ValueError(f"{source}: {prefix.rstrip('.') or 'content'}: need named fields")
    hints = typing.get_type_hints(cls)
    known = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
    for name in plain:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f", did you mean {prefix}{near[0]}?" if near else ""
            raise ValueError(f"{source}: {prefix}{name}: unknown field{hint}")
    values = {
        name: _convert(hints[name], value, source, prefix + name) for name, value in plain.items()
    }
    try:
        return cls(**values)
    except (TypeError, ValueError) as error:
        where = f"{source}: {prefix.rstrip('.')}".rstrip(": ")
        raise ValueError(f"{where}: {error}") from None


def _convert(hint: Any, value: Any, source: str, name: str) -> Any:
    """Return the value as the type that the field declares."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _convert(args[0], value, source, name)
    if origin in (Union, types.UnionType):
        return _convert_union(args, value, source, name)
    if dataclasses.is_dataclass(hint):
        return _build(typing.cast(type, hint), value, source, name + ".")
    if origin is tuple and isinstance(value, (list, tuple)):
        return _convert_tuple(args, value, source, name)
    if origin is dict and isinstance(value, Mapping):
        return {
            key: _convert(args[1], item, source, f"{name}.{key}") for key, item in value.items()
        }
    if origin is Literal and value in args:
        return value
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if hint is float and isinstance(value, str) and re.fullmatch(_POWER_OF_TEN, value):
        return float(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint in (int, bool, str, type(None)) and type(value) is hint:
        return value
    raise ValueError(f"{source}: {name}: need {_describe(hint)}, got {value!r}")


def _convert_union(args: tuple[Any, ...], value: Any, source: str, name: str) -> Any:
    for arg in args:
        try:
            return _convert(arg, value, source, name)
        except ValueError as error:
            # A dataclass among the choices has more to say than "none of these fits".
            if dataclasses.is_dataclass(arg) and isinstance(value, Mapping):
                raise error from None
    wanted = " or ".join(_describe(arg) for arg in args)
    raise ValueError(f"{source}: {name}: need {wanted}, got {value!r}")


def _convert_tuple(args: tuple[Any, ...], value: Any, source: str, name: str) -> tuple[Any, ...]:
    kinds = args[:1] * len(value) if args[-1] is Ellipsis else args
    if len(kinds) != len(value):
        raise ValueError(f"{source}: {name}: need {len(kinds)} values, got {len(value)}")
    return tuple(
        _convert(kind, item, source, f"{name}[{i}]")
        for i, (kind, item) in enumerate(zip(kinds, value, strict=True))
    )


def _describe(hint: Any) -> str:
    if hint is type(None):
        return "nothing"
    if typing.get_origin(hint) is Literal:
        return "one of " + ", ".join(map(str, typing.get_args(hint)))
    if typing.get_origin(hint) is None:
        return getattr(hint, "__name__", str(hint))
    return str(hint).replace("typing.", "")
