"""The wording of messages. Nothing heavy is imported, so every module can use it."""

from __future__ import annotations


def first_line(error: BaseException) -> str:
    """Return the first line of the message of an error from another library."""
    return (str(error).splitlines() or [type(error).__name__])[0]
