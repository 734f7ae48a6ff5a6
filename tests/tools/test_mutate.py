"""Errors planted in the kernels are caught. `python tools/mutate` plants all, CI a sample."""

import subprocess
import sys
from pathlib import Path

import pytest
from host import build

ROOT = Path(__file__).parents[2]


def mutate(*arguments):
    command = [sys.executable, str(ROOT / "tools/mutate"), *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_sources_still_contain_what_mutations_replace():
    done = mutate("--list")
    assert done.returncode == 0, done.stderr


def test_page_lists_every_mutation():
    page = (ROOT / "docs/testing.md").read_text()
    names = mutate("--list").stdout.splitlines()
    assert len(names) >= 20
    assert [name for name in names if f"| {name} |" not in page] == []


def test_planted_errors_are_caught():
    """One with the sanitizers' quickest."""
    if build.why_not() is not None:
        pytest.skip(build.why_not())
    done = mutate("--only", "numbers beyond the end of a row are read")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "AddressSanitizer: heap-buffer-overflow" in done.stdout
