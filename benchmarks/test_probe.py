"""The paper's protocol on cached features as many as in BP4D: three folds, with intervals."""

from __future__ import annotations

import numpy as np
import pytest

from tcae.data.labels import LabelTable
from tcae.evaluation.embedding import EmbeddedFrames
from tcae.evaluation.protocol import cross_validate

pytestmark = pytest.mark.every_case

FRAMES, WIDTH, UNITS, SUBJECTS = 146_000, 256, 12, 41


def test_probe(benchmark):
    random = np.random.default_rng(0)
    features = random.normal(size=(FRAMES, WIDTH)).astype(np.float32)
    signal = features[:, :UNITS] + random.normal(size=(FRAMES, UNITS))
    names = tuple(f"AU{unit}" for unit in range(UNITS))
    subjects = tuple(f"S{i * SUBJECTS // FRAMES}" for i in range(FRAMES))
    labels = LabelTable(names, (signal > 0.8).astype(np.float32), subjects, np.arange(FRAMES))
    embedded = EmbeddedFrames(features, features, "random")

    benchmark.group = "probe"
    results = benchmark.pedantic(cross_validate, (embedded, labels), rounds=1)
    assert 0.75 < results.scores.auc_mean < 0.9
    benchmark.extra_info |= {"frames": FRAMES, "width": WIDTH, "units": UNITS}
