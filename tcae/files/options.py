"""What an option says of itself beside its type and default: marks on the fields of a dataclass."""

from __future__ import annotations

import dataclasses
import enum
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

T = TypeVar("T")
MarkT = TypeVar("MarkT")

_RETIRED = "_retired_options"


@dataclass(frozen=True)
class Before:
    """The value that holds in runs begun before the option existed; not always its default.

    Example:
        >>> @dataclass
        ... class Options:
        ...     size: Annotated[int, Before(8)] = 16
    """

    value: Any


@dataclass(frozen=True)
class Formerly:
    """The name that the option had before; files that carry it stay readable.

    Example:
        >>> @dataclass
        ... class Options:
        ...     size: Annotated[int, Formerly("side")] = 16
    """

    name: str


@dataclass(frozen=True)
class FormerValues:
    """Values that the option had before, each with what it is called now; such files stay readable.

    Example:
        >>> @dataclass
        ... class Options:
        ...     size: Annotated[str, FormerValues(((False, "small"), (True, "large")))] = "small"
    """

    pairs: tuple[tuple[Any, Any], ...]


class Resume(enum.Enum):
    """How an option, or a whole group of options, bears on the resuming of a run."""

    FREE = "free"
    """It may differ when a run is resumed: it changes no bit of what is learned."""
    NOT_SAVED = "not saved"
    """It is an order for one invocation, not a property of the run."""


def retired(**values: Any) -> Callable[[type[T]], type[T]]:
    """Mark a dataclass with options that it no longer has, each with the one value it is read with.

    Files that carry an option with this value stay readable. With any other value the option is
    refused by name.

    Example:
        >>> @retired(mirror=True)
        ... @dataclass
        ... class Options:
        ...     size: int = 16
    """

    def mark(options: type[T]) -> type[T]:
        setattr(options, _RETIRED, values)
        return options

    return mark


def retired_options(options: type) -> dict[str, Any]:
    """Return the values that `retired` gave a dataclass, by name."""
    return dict(options.__dict__.get(_RETIRED, {}))


def marks(options: type, kind: type[MarkT]) -> dict[str, MarkT]:
    """Return the marks of one kind on the fields of a dataclass, by field name.

    Example:
        >>> @dataclass
        ... class Options:
        ...     size: Annotated[int, Before(8)] = 16
        ...     name: str = ""
        >>> marks(Options, Before)
        {'size': Before(value=8)}
    """
    return {
        name: mark
        for name, (_, *others) in _annotations(options).items()
        for mark in others
        if isinstance(mark, kind)
    }


def groups(options: type) -> dict[str, type]:
    """Return the dataclasses that are fields of a dataclass, by field name."""
    hints = {name: hint for name, (hint, *_) in _annotations(options).items()}
    return {
        name: typing.cast(type, hint)
        for name, hint in hints.items()
        if dataclasses.is_dataclass(hint)
    }


def is_free_on_resume(options: type, name: str) -> bool:
    """Return whether the option of a dotted name, or a group that it is in, may differ on resuming.

    Args:
        options: The dataclass that the name begins in.
        name: As "steps" or "optimizer.betas".
    """
    first, _, rest = name.partition(".")
    if first in marks(options, Resume):
        return True
    group = groups(options).get(first)
    return group is not None and is_free_on_resume(group, rest)


def _annotations(options: type) -> dict[str, tuple[Any, ...]]:
    """Return the type of each field, followed by its marks."""
    hints = typing.get_type_hints(options, include_extras=True)
    return {
        field.name: typing.get_args(hints[field.name])
        if typing.get_origin(hints[field.name]) is Annotated
        else (hints[field.name],)
        for field in dataclasses.fields(options)
    }
