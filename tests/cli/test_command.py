from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import torch
import tyro

from tcae.cli import command


@dataclass(frozen=True)
class Options:
    """Does something."""

    data: command.DataOption
    seed: command.SeedOption = 0
    overwrite: command.OverwriteOption = False


@dataclass(frozen=True)
class Described:
    """Options that describe themselves."""

    size: int = 1
    """A text of two lines that were broken where the editor
    broke them, and not where a sentence ends."""


def run(work: object, *argv: str) -> int:
    return command.run(work, Options, prog="tcae.thing", argv=argv)  # type: ignore[arg-type]


def fails_with(error: BaseException) -> object:
    def work(options: Options) -> int:
        raise error

    return work


def test_options_arrive_and_the_status_is_passed_on() -> None:
    seen = []

    def work(options: Options) -> int:
        seen.append(options)
        return command.SOME_FAILED

    assert run(work, "--data", "d", "--overwrite") == 1
    assert seen == [Options(Path("d"), 0, True)]


def test_help_texts_flow(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(lambda options: 0, Described, prog="tcae.thing", argv=["--help"]) == 0
    assert any("the editor broke them" in line for line in capsys.readouterr().out.splitlines())


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("two\n  lines"), "tcae.thing: error: two lines\n"),
        (TypeError("no"), "tcae.thing: error: no\n"),
        (FloatingPointError("step 3"), "tcae.thing: error: step 3\n"),
        (FileNotFoundError(2, "No such file", "a.mp4"), "tcae.thing: error: a.mp4: No such file\n"),
        (OSError("disk gone"), "tcae.thing: error: disk gone\n"),
        (ValueError(), "tcae.thing: error: ValueError\n"),
    ],
)
def test_what_a_user_can_mend_is_one_line(
    error: Exception, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(fails_with(error), "--data", "d") == 2
    assert capsys.readouterr().err == line


def test_the_environment_brings_the_traceback_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TCAE_TRACEBACK", "1")
    with pytest.raises(ValueError, match="no"):
        run(fails_with(ValueError("no")), "--data", "d")


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run(fails_with(ZeroDivisionError()), "--data", "d")


def test_ctrl_c_is_one_line_and_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(fails_with(KeyboardInterrupt()), "--data", "d") == 128 + signal.SIGINT
    assert capsys.readouterr().err == "tcae.thing: interrupted\n"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--data", "d", "--sed", "1"], "--sed"),
        (["--data", "d", "--seed", "x"], "--seed"),
        ([], "--data"),
    ],
)
def test_a_wrong_command_line_is_one_line(
    argv: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(fails_with(AssertionError()), *argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("tcae.thing: error: ")
    assert words in captured.err
    assert not any(line in captured.err for line in ("──", "|", "---"))


@dataclass(frozen=True)
class Numbers:
    """Options of all kinds."""

    source: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="SOURCE")]
    out: Path
    count: int = 1
    share: float = 0.5
    rate: float | None = None
    pair: tuple[int, int] = (1, 2)
    angles: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        if self.share > 1:
            raise ValueError(f"share is {self.share}, it must be at most 1")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--ot b a", "--ot: unknown option, the nearest one is --out"),
        ("--sharre 1 a --out b", "--sharre: unknown option, the nearest one is --share"),
        ("--zzzzzzzz 1 a --out b", "--zzzzzzzz: unknown option"),
        ("a c --out b", "belongs to no option: c"),
        ("", "SOURCE, --out: needed, but not given"),
        ("a", "--out: needed, but not given"),
        ("a --out", "--out: no value given"),
        ("a --out b --angles 1", "--angles: need FLOAT FLOAT FLOAT, got '1'"),
        ("a --out b --pair 1", "--pair: fewer than 2 values given"),
        ("a --out b --count x", "--count: need INT, got 'x'"),
        ("a --out b --share x", "--share: need FLOAT, got 'x'"),
        ("a --out b --rate x", "--rate: need FLOAT, got 'x'"),
        ("a --out b --angles 1 2", "--angles: need FLOAT FLOAT FLOAT, got '1', '2'"),
        ("a --out b --share 2", "share is 2.0, it must be at most 1"),
    ],
)
def test_what_is_wrong_with_the_words_is_said(
    words: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    done = command.run(lambda options: 0, Numbers, prog="tcae.thing", argv=words.split())
    advice = " (python -m tcae.thing --help explains the options)\n"
    assert (done, capsys.readouterr().err) == (2, f"tcae.thing: error: {line}{advice}")


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_wrong_options_read_the_same_in_every_terminal(encoding: str) -> None:
    program = (
        "from dataclasses import dataclass\n"
        "from tcae.cli import command\n"
        "@dataclass\n"
        "class Options:\n"
        "    seed: int = 0\n"
        "raise SystemExit(command.run(lambda options: 0, Options, prog='x'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "--sed", "1"],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == (
        "x: error: --sed: unknown option, the nearest one is --seed "
        "(python -m x --help explains the options)\n"
    )


def test_help_is_printed_and_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(fails_with(AssertionError()), "--help") == 0
    out = capsys.readouterr().out
    assert "Does something." in out
    assert "Packed data set" in out


def test_warnings_of_the_package_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    def work(options: Options) -> int:
        logging.getLogger("tcae.data.anything").warning("%s: two\nlines", "f")
        return 0

    assert run(work, "--data", "d") == 0
    assert run(work, "--data", "d") == 0  # a second run in one process does not say it twice
    assert capsys.readouterr().err == "tcae.thing: warning: f: two lines\n" * 2


def test_devices() -> None:
    assert command.device_of("cpu") == torch.device("cpu")
    assert command.device_of("auto").type in ("cpu", "cuda", "mps")
    for name in ("nonsense", "cuda:99", "meta:x"):
        with pytest.raises(ValueError, match=f"--device {name}: torch cannot use it here"):
            command.device_of(name)
