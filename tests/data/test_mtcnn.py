from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tcae.data.mtcnn import _suppress


@given(st.integers(0, 2**32 - 1), st.integers(0, 40), st.booleans())
def test_suppression(seed, count, nested):
    random = np.random.default_rng(seed)
    corner = random.integers(0, 30, (count, 2))
    boxes = np.concatenate([corner, corner + random.integers(1, 30, (count, 2))], 1)
    scores = random.permutation(count).astype(float)
    kept = _suppress(boxes.astype(np.float32), scores, 0.5, nested).tolist()

    def overlap(a, b):  # counted pixel by pixel
        grid = np.zeros((2, 60, 60), bool)
        for k, (x0, y0, x1, y1) in enumerate((boxes[a], boxes[b])):
            grid[k, y0:y1, x0:x1] = True
        whole = grid.sum((1, 2)).min() if nested else grid.any(0).sum()
        return grid.all(0).sum() / whole

    assert kept == sorted(kept, key=lambda i: -scores[i])
    for i in range(count):
        better = [k for k in kept if scores[k] > scores[i]]
        assert (i in kept) == all(overlap(i, k) <= 0.5 for k in better)
