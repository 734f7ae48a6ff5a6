"""A line that cannot be printed undoes no work. Each command runs in a process of its own."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tcae.cli.streams import unfailing_streams

# A command that says things in each way there is, then leaves its result.
PROGRAM = """
import logging, os, sys
from dataclasses import dataclass
from pathlib import Path
from tcae.cli import command
from tcae.cli.progress import say

@dataclass
class Options:
    out: Path

def work(options):
    with open(options.out, "w") as file:
        os.write(1, b"") if os.environ.get("RAW") else None
        for k in range(int(os.environ.get("REPEATS", "1"))):
            say("line \\xe9 \\udce9")
            print("printed \\xe9 \\udce9")
            logging.getLogger("tcae.x").warning("warned \\xe9 \\udce9")
        file.write("done")
    return command.DONE

raise SystemExit(command.run(work, Options, prog="tcae.thing"))
"""


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Run the command below a shell; what the shell does with its streams comes after it."""

    def run(streams: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
        words = [sys.executable, "-c", PROGRAM, "--out", str(tmp_path / "result")]
        done = subprocess.run(
            ["bash", "-c", f'"$@" {streams}', "bash", *words],
            env={**os.environ, **environment},
            capture_output=True,
            timeout=120,
        )
        assert (tmp_path / "result").read_text() == "done"
        return done

    return run


def test_what_the_encoding_lacks_is_escaped(start) -> None:
    done = start("", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert done.stdout == b"line \\xe9 \\udce9\nprinted \\xe9 \\udce9\n"
    assert done.stderr == b"tcae.thing: warning: warned \\xe9 \\udce9\n"


def test_an_encoding_with_the_letter_prints_it(start) -> None:
    assert start("", PYTHONIOENCODING="latin-1").stdout.startswith(b"line \xe9 \\udce9\n")


@pytest.mark.parametrize("lines", ["1", "5000"])  # within a buffer, and beyond it
@pytest.mark.parametrize("streams", ["| true", "2>&1 | head -1", "2>&1 >/dev/null | true"])
def test_a_reader_that_has_gone_stops_nothing(start, streams: str, lines: str) -> None:
    done = start(f"{streams}; exit ${{PIPESTATUS[0]}}", REPEATS=lines)
    assert done.returncode == 0
    assert b"Broken pipe" not in done.stderr and b"Traceback" not in done.stderr


@pytest.mark.parametrize("streams", [">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_stream_stops_nothing(start, streams: str) -> None:
    """Nor does the result take its number, so that what is written to the stream lands in it."""
    done = start(streams, RAW="1")
    assert done.returncode == 0
    assert (done.stdout == b"") == (streams != "2>&-")
    assert (done.stderr == b"") == (streams != ">&-")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_for_the_messages_is_said(start) -> None:
    done = start(">/dev/full", REPEATS="3")
    assert done.returncode == 0
    said = b"tcae.thing: warning: stdout: No space left on device; nothing more is printed there\n"
    assert done.stderr.count(said) == 1
    assert start("2>/dev/full").returncode == 0


@pytest.mark.parametrize("words", [["--help"], ["extract", "--help"], ["extract", "--version"]])
def test_help_for_a_reader_that_has_gone(words: list[str]) -> None:
    shell = '"$@" | true; exit ${PIPESTATUS[0]}'
    command = ["bash", "-c", shell, "bash", sys.executable, "-m", "tcae", *words]
    done = subprocess.run(command, capture_output=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_streams_are_given_back() -> None:
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        with unfailing_streams():
            print("a \udce9")
        assert sys.stdout is text
    assert text.getvalue() == "a \udce9\n"
