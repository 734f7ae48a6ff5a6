"""The command ``tcae``, also ``python -m tcae``: lists the commands and starts them."""

from __future__ import annotations

import ast
import difflib
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from tcae import __version__
from tcae.cli.streams import unfailing_streams

_USAGE = """\
usage: tcae COMMAND [OPTIONS]
       tcae COMMAND --help
       tcae --version

commands:"""
_FAILED = 2  # as in tcae.cli.command, whose import takes longer than all that is done here


def commands() -> dict[str, str]:
    """Return a line about each command by its name, read from the docstring of its module."""
    files = sorted(Path(__file__).parent.glob("[!_]*.py"))
    return {file.stem: _first_line(file) for file in files}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command, or list them all.

    Args:
        argv: The command's name and its options, ``sys.argv[1:]`` if None.

    Returns:
        The exit status.
    """
    with unfailing_streams():
        return _run(*((sys.argv[1:] if argv is None else argv) or ["--help"]))


def _run(name: str, *options: str) -> int:
    if name in ("-h", "--help"):
        lines = [f"  {command:<12}{line}" for command, line in commands().items()]
        print("\n".join([_USAGE, *lines]))
        return 0
    if name == "--version":
        print(f"tcae {__version__}")
        return 0
    if name not in commands():
        print(f"tcae: error: {_unknown(name)} (tcae --help lists the commands)", file=sys.stderr)
        return _FAILED
    status: int = importlib.import_module(f"tcae.{name}").main(options)
    return status


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, commands(), n=1, cutoff=0.0)[0]
    return f"{name!r} is not a command, the nearest one is {near!r}"


def _first_line(file: Path) -> str:
    text = ast.get_docstring(ast.parse(file.read_bytes())) or ""
    line = text.partition("\n")[0].rpartition("``: ")[2]
    return line[:1].upper() + line[1:]


if __name__ == "__main__":
    sys.exit(main())
