"""Stdout and stderr that never stop the work: what cannot be printed is escaped or lost."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO, cast

log = logging.getLogger(__name__)


@contextlib.contextmanager
def unfailing_streams() -> Iterator[None]:
    """Let ``sys.stdout`` and ``sys.stderr`` never raise an error within the ``with`` block.

    Characters that the stream cannot encode are escaped. After an error nothing more is printed
    there: silently if the reader of a pipe has gone, else a warning says so. A stream that was
    closed from the start becomes the null device, lest a file of the work take its place.

    Example:
        >>> with unfailing_streams():
        ...     print("a line")
        a line
    """
    with contextlib.ExitStack() as stack:
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is None:
                stream = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
            stack.callback(setattr, sys, name, getattr(sys, name))
            setattr(sys, name, cast(TextIO, _Unfailing(stream, name)))
        stack.callback(sys.stderr.flush)
        stack.callback(sys.stdout.flush)
        yield


class _Unfailing:
    """A text stream in the place of another one."""

    def __init__(self, stream: TextIO, name: str) -> None:
        self._stream, self._name = stream, name

    def write(self, text: str) -> int:
        self._attempt(lambda: self._write(text))
        return len(text)

    def flush(self) -> None:
        self._attempt(self._stream.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
        except UnicodeEncodeError:
            encoding = self._stream.encoding
            self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))

    def _attempt(self, call: Callable[[], object]) -> None:
        try:
            call()
        except OSError as error:
            # What is still in its buffer goes nowhere too, also when Python exits.
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)
            if not isinstance(error, BrokenPipeError):
                log.warning("%s: %s; nothing more is printed there", self._name, error.strerror)
