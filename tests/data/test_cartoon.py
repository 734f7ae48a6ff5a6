from __future__ import annotations

import numpy as np
import pytest

from tcae.data.align import DEFAULT_TEMPLATE
from tcae.data.cartoon import ACTION_UNITS, CartoonFace, make_cartoons
from tcae.data.labels import read_labels
from tcae.data.pairs import PairBatches
from tcae.data.shards import PackedDataset

STILL = np.zeros(6)


def face(seed):
    return CartoonFace(np.random.default_rng(seed), 64)


def test_a_packed_set_with_labels(tmp_path):
    make_cartoons(tmp_path / "a", image_size=32, identities=12, frames=10, seed=3)
    dataset = PackedDataset(tmp_path / "a")
    assert len(dataset) == 120
    assert dataset.image_size == 32
    labels = read_labels(tmp_path / "a" / "labels.csv", dataset)
    assert labels.names == ACTION_UNITS
    assert len(labels.values) == 120
    assert len(set(labels.subjects)) == 12
    share = np.nanmean(labels.values, 0)
    assert ((share > 0.15) & (share < 0.75)).all()
    assert PairBatches(dataset, "train", 4, seed=0)[0]["source"].shape == (4, 3, 32, 32)


def test_same_seed_same_bytes(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        make_cartoons(tmp_path / name, image_size=32, identities=2, frames=3, seed=seed)
    a, b, c = (
        [p.read_bytes() for p in sorted((tmp_path / name).rglob("*")) if p.is_file()]
        for name in "abc"
    )
    assert a == b
    assert a != c


def test_never_over_an_existing_set(tmp_path):
    make_cartoons(tmp_path, image_size=32, identities=1, frames=1)
    with pytest.raises(FileExistsError):
        make_cartoons(tmp_path, image_size=32, identities=1, frames=1)


@pytest.mark.parametrize("unit", range(6))
def test_a_unit_changes_the_face_where_it_should(unit):
    """AU 1, 2, 4 above the eyes' lower rim; AU 12, 26 below it; AU 45 at the eyes."""
    eyes = int(0.36 * 64)
    for seed in range(5):
        cartoon = face(seed)
        neutral, _ = cartoon.draw(STILL, np.zeros(6))
        active, _ = cartoon.draw(STILL, np.eye(6)[unit])
        change = np.abs(active.astype(int) - neutral).sum((1, 2))
        upper, lower = change[:eyes].sum(), change[eyes:].sum()
        assert upper + lower > 500
        assert (lower if ACTION_UNITS[unit] in ("AU12", "AU26") else upper) > 0.95 * (upper + lower)


def test_points_follow_the_pose():
    cartoon = face(0)
    _, still = cartoon.draw(STILL, np.zeros(6))
    assert np.abs(still - DEFAULT_TEMPLATE.pixels(64)).max() < 4
    _, shifted = cartoon.draw(np.array([0, 0, 0, 0.1, 0.05, 0]), np.zeros(6))
    assert np.allclose(shifted - still, [6.4, 3.2], atol=1e-4)
    _, rolled = cartoon.draw(np.array([0, 0, 0.2, 0, 0, 0]), np.zeros(6))
    (x0, y0), (x1, y1) = rolled[:2]
    assert np.arctan2(y1 - y0, x1 - x0) == pytest.approx(0.2, abs=1e-3)
    # Turned to the right, the nose overtakes the eyes.
    _, turned = cartoon.draw(np.array([0.3, 0, 0, 0, 0, 0]), np.zeros(6))
    assert turned[2, 0] - turned[:2, 0].mean() > still[2, 0] - still[:2, 0].mean() + 2


def test_people_look_different():
    neutral = [face(seed).draw(STILL, np.zeros(6))[0].astype(float) for seed in range(6)]
    for i in range(6):
        for j in range(i):
            assert np.abs(neutral[i] - neutral[j]).mean() > 10
