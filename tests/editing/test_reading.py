from __future__ import annotations

import numpy as np
import pytest
import torch

import tcae
from tcae.editing.reading import Reading, load_pose_reading, probe_reading, save_pose_reading


@pytest.fixture
def reading() -> Reading:
    torch.manual_seed(0)
    return Reading(("a", "b", "c"), torch.randn(3, 6), torch.randn(3), torch.rand(6) + 0.5)


def test_what_is_wanted_is_read_and_the_rest_stays(reading):
    start = torch.randn(1, 6)
    end = reading.moved(start, {"b": 4.0, "c": -1.0})
    before = reading(start)[0]
    assert reading(end)[0].tolist() == pytest.approx([float(before[0]), 4.0, -1.0], abs=1e-4)
    assert torch.equal(reading.moved(start, {}), start)


def test_no_other_change_of_the_kind_is_smaller(reading):
    """In units of the spread; found by numpy's solver of least norm."""
    start = torch.randn(1, 6)
    step = ((reading.moved(start, {"a": 2.0}) - start)[0] / reading.spread).numpy()
    rows = (reading.weight * reading.spread).numpy()
    wanted = np.array([2.0 - float(reading(start)[0, 0]), 0, 0])
    assert step == pytest.approx(np.linalg.lstsq(rows, wanted, rcond=None)[0], abs=1e-4)


def test_a_probe_is_read_as_it_reads_itself():
    probe = tcae.load_probe("synthetic-64")
    features = torch.randn(5, probe.linear.in_features)
    assert torch.allclose(probe_reading(probe)(features), probe(features), rtol=1e-3, atol=1e-3)


def test_the_file_keeps_it(reading, tmp_path):
    save_pose_reading(tmp_path / "pose.safetensors", reading)
    read = load_pose_reading(tmp_path / "pose.safetensors")
    embedding = torch.randn(2, 6)
    assert read.names == reading.names and torch.equal(read(embedding), reading(embedding))
    with pytest.raises(FileNotFoundError):
        load_pose_reading(tmp_path / "none.safetensors")
