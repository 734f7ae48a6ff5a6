from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tcae
from tcae import __main__ as front

ROOT = Path(tcae.__file__).parents[1]
COMMANDS = {"experiment", "extract", "measure", "pack", "probe", "synthesize", "train"}


def python(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *words], env=environment, capture_output=True, text=True, cwd=cwd
    )


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_every_command_is_listed_with_a_line_about_it(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert front.main(words) == 0
    lines = capsys.readouterr().out.partition("commands:\n")[2].splitlines()
    listed = {line.split()[0]: line.split()[1:] for line in lines}
    assert set(listed) >= COMMANDS
    for name, line in listed.items():
        assert callable(importlib.import_module(f"tcae.{name}").main)
        assert len(line) >= 5 and line[0][0].isupper() and line[-1].endswith("."), name


def test_the_list_waits_for_no_import() -> None:
    program = (
        "import sys\n"
        "from tcae.__main__ import main\n"
        "main(['--help']), main(['--version'])\n"
        "print([name for name in ('torch', 'numpy', 'tyro') if name in sys.modules])\n"
    )
    done = python("-c", program)
    assert done.stdout.splitlines()[-2:] == [f"tcae {tcae.__version__}", "[]"], done.stderr


@pytest.mark.parametrize(
    ("wrong", "near"), [("trian", "train"), ("extraction", "extract"), ("packs", "pack")]
)
def test_an_unknown_command_names_the_nearest_one(
    wrong: str, near: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert front.main([wrong, "--out", "x"]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith(
        f"tcae: error: '{wrong}' is not a command, the nearest one is '{near}'"
    )
    assert errors.count("\n") == 1


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_tells_its_version(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert front.main([name, "--version"]) == 0
    assert capsys.readouterr().out == f"tcae.{name} {tcae.__version__}\n"


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """The console script as installers write it."""
    path = tmp_path / "tcae"
    path.write_text("import sys\nfrom tcae.__main__ import main\nsys.exit(main())\n")
    return path


@pytest.mark.parametrize("words", [["script"], ["-m", "tcae"]])
def test_messages_name_the_command_as_it_was_called(words: list[str], script: Path) -> None:
    words = [str(script)] if words == ["script"] else words
    assert python(*words, "synthesize", "--help").stdout.startswith("usage: tcae synthesize [-h]")
    wrong = python(*words, "synthesize", "--out", "x", "--sed", "1")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("tcae synthesize: error: --sed: unknown option")
    assert wrong.stderr.endswith("(tcae synthesize --help explains the options)\n")


def test_a_command_called_as_a_module_keeps_its_own_name() -> None:
    shown = python("-m", "tcae.synthesize", "--help").stdout
    assert shown.startswith("usage: python -m tcae.synthesize [-h]")
    wrong = python("-m", "tcae.synthesize", "--sed", "1").stderr
    assert wrong.startswith("tcae.synthesize: error: ")
    assert wrong.endswith("(python -m tcae.synthesize --help explains the options)\n")


@pytest.mark.parametrize("name", ["analyse", "extract", "pack"])
def test_inputs_that_must_be_given_are_called_required(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """They have no default, not even an empty one."""
    assert front.main([name, "--help"]) == 0
    listed = capsys.readouterr().out.partition("positional arguments")[2]
    positional = listed.partition(" options ")[0]
    assert "(required)" in positional and "(default" not in positional
