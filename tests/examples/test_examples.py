"""The example programs run, achieve what they say, and write a picture that shows something."""

import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

ROOT = Path(__file__).parents[2]
# By how much the error must fall.
PROGRAMS = {"next_frame": 20, "register_images": 10, "stabilise_clip": 10}


def run(program, *arguments):
    return subprocess.run(
        [sys.executable, ROOT / f"examples/{program}.py", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.parametrize("program", PROGRAMS)
def test_program_does_what_it_says(program, tmp_path):
    picture = tmp_path / "picture.png"
    done = run(program, "--out", picture)
    assert done.returncode == 0, done.stderr
    before, after = map(
        float, re.search(r"(\d\.\d+) before, (\d\.\d+) after", done.stdout).groups()
    )
    assert before > 0.03
    assert after * PROGRAMS[program] < before
    if program == "register_images":
        assert float(re.search(r"flow off by ([\d.]+) px", done.stdout)[1]) < 0.3
    assert str(picture) in done.stdout
    pixels = cv2.imread(str(picture))
    assert min(pixels.shape[:2]) > 300
    assert pixels.std() > 40


@pytest.mark.parametrize("program", PROGRAMS)
def test_program_explains_itself(program):
    done = run(program, "--help")
    assert done.returncode == 0
    assert "--out" in done.stdout


def test_picture_that_cannot_be_written_is_one_line(tmp_path):
    done = run("next_frame", "--out", tmp_path / "nowhere/picture.png")
    assert done.returncode != 0
    assert re.fullmatch(r".*picture.png cannot be written; .*\n", done.stderr)
