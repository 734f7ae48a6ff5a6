from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tcae.data.labels import LabelTable, read_labels
from tcae.data.shards import PackedDataset
from tcae.experiments.setting import Labelled


@pytest.fixture
def numbers() -> tuple[np.ndarray, Labelled]:
    """Features (240, 4) of 12 subjects, and labels that the first two of them tell; no pictures."""
    random = np.random.default_rng(0)
    features = random.normal(size=(240, 4)).astype(np.float32)
    values = (features[:, :2] + 0.3 * random.normal(size=(240, 2)) > 0.3).astype(np.float32)
    values[random.random(values.shape) < 0.05] = np.nan
    subjects = tuple(f"S{i // 20:02d}" for i in range(240))
    labels = LabelTable(("AU1", "AU02"), values, subjects, np.arange(240))
    fold = np.arange(240) // 20 % 3
    return features, Labelled(None, labels, fold)  # type: ignore[arg-type]


@pytest.fixture
def labelled(faces: Path) -> Labelled:
    """Labelled rendered frames of 40 people in two folds, 32 pixels."""
    dataset = PackedDataset(faces)
    labels = read_labels(faces / "labels.csv", dataset)
    fold = np.array([int(subject[-1]) % 2 for subject in labels.subjects])
    return Labelled(dataset, labels, fold)
