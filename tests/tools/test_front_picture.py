"""The picture of the README: what is drawn lies where it should, flows keep their length."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from tcae_ops import warp

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools/front_picture"


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.syspath_prepend(str(TOOL))
    return runpy.run_path(str(TOOL / "__main__.py"))


def test_a_flow_moves_the_large_picture_as_far_as_the_small_one(tool):
    # A quarter of the side to the right, whatever the side: 16 of 64 pixels, 64 of 256.
    small = torch.zeros(1, 2, 64, 64)
    small[:, 0] = 16 / (63 / 2)
    large = tool["large"](small)
    assert large.shape == (1, 2, 256, 256)
    torch.testing.assert_close(large[:, 0], torch.full((1, 256, 256), 64.0))
    ramp = torch.arange(256.0).expand(1, 1, 256, 256)
    assert warp(ramp, large)[0, 0, 100, 100] == pytest.approx(164, abs=1e-3)


def test_curves_lie_over_the_true_intensities(tool):
    drawing = sys.modules["drawing"]
    times = np.arange(50) / 25
    steps = np.where(times < 1, 0.0, 1.0)
    grey = np.full((8, 8, 3), 100, np.uint8)
    frames = drawing.Frames(grey, grey, np.ones((2, 8, 8)), np.ones((2, 8, 8)), grey, grey)
    clip = drawing.Clip(np.stack([grey] * 50), times, (0, 10))
    curve = drawing.Curve("AU12", "smile", steps, 1 - steps)
    assert curve.correlation == pytest.approx(-1)
    with_line = drawing.draw(frames, clip, [curve])
    assert with_line.shape[1:] == (1600, 3)
    chart = with_line[450:, 300:1560]
    truth, line = ((chart == colour).all(-1) for colour in ((203, 210, 218), (9, 105, 218)))
    middle = chart.shape[1] // 2
    assert not truth[:, : middle - 40].any()
    assert truth.sum(0)[middle + 40 :].min() > 60
    # The probability is high where the intensity is low.
    rows = [np.nonzero(part)[0].mean() for part in (line[:, : middle - 40], line[:, middle + 40 :])]
    assert rows[1] - rows[0] == pytest.approx(76, abs=2)


def test_the_command_writes_a_picture_of_a_person(tmp_path):
    out = tmp_path / "front.jpg"
    words = [sys.executable, str(TOOL), "--seconds", "1", "--person", "3", "--out", str(out)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("correlation") == 5
    assert cv2.imread(str(out)).shape[1] == 1600
    again = subprocess.run([*words[:-1], str(tmp_path / "no/front.jpg")], capture_output=True)
    assert again.returncode == 1 and b"front_picture: error: " in again.stderr


def test_the_picture_of_the_front_page_is_small():
    assert 100_000 < (ROOT / "docs/front.jpg").stat().st_size < 1_000_000
