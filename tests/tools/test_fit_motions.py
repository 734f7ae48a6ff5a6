from __future__ import annotations

import runpy
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tcae.editing.reading import POSE_FILE, load_pose_reading
from tcae.models.usual_motions import MOTIONS_FILE, load_motions
from tcae.weights import FOLDER

TOOL = Path(__file__).parents[2] / "tools/fit_motions/__main__.py"


@pytest.fixture(scope="module")
def tool():
    return SimpleNamespace(**runpy.run_path(str(TOOL)))


def test_sums_give_least_squares(tool):
    random = np.random.default_rng(0)
    inputs, outputs = random.normal(size=(50, 4)), random.normal(size=(50, 3))
    sums = tool.Sums()
    for start in range(0, 50, 7):
        sums.add(inputs[start : start + 7], outputs[start : start + 7])
    wanted = np.linalg.lstsq(inputs, outputs, rcond=None)[0]
    assert sums.weights(50, 0.0) == pytest.approx(wanted)
    assert np.abs(sums.weights(50, 50.0)).mean() < 0.7 * np.abs(wanted).mean()


def test_a_pose_that_is_linear_in_the_embedding_is_read(tool):
    random = np.random.default_rng(0)
    embeddings = random.normal(size=(400, 5)) * [1, 9, 2, 1, 4] + 3
    poses = embeddings @ random.normal(size=(5, 3)) - 20
    reading = tool._pose_reading(embeddings, poses)
    assert reading.names == ("pitch", "yaw", "roll")
    read = reading(torch.from_numpy(embeddings).float()).numpy()
    assert np.abs(read - poses).max() < 0.02 * poses.std()


def test_files_are_written_beside_the_weights(tool, tmp_path, monkeypatch):
    folder = tmp_path / "mine"
    shutil.copytree(FOLDER / "synthetic-64", folder)
    for name in (MOTIONS_FILE, POSE_FILE):
        (folder / name).unlink()
    monkeypatch.setattr(sys, "argv", ["fit_motions", str(folder), "--people", "2"])
    tool.main()
    assert load_motions(folder / MOTIONS_FILE).flows.abs().max() > 0.1
    assert load_pose_reading(folder / POSE_FILE).names == ("pitch", "yaw", "roll")
