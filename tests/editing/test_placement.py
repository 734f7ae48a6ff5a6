from __future__ import annotations

import numpy as np
import pytest
import torch

from tcae.editing.placement import fade, moved, turned


def picture(height: int = 120, width: int = 160) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.dstack([x, y, np.full_like(x, 90)]).astype(np.uint8)


def placed(scale: float = 0.5, degrees: float = 0.0, x: float = 10.0, y: float = 5.0) -> np.ndarray:
    c, s = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    return np.array([[c, -s, -scale * x], [s, c, -scale * y]])


def test_the_mask_is_one_inside_and_zero_at_the_border():
    mask = fade(64)
    assert mask[24:40, 24:40].min() == 1
    assert max(mask[0].max(), mask[-1].max(), mask[:, 0].max(), mask[:, -1].max()) == 0
    assert mask.diff(dim=0).abs().max() < 0.15  # smooth
    assert torch.equal(mask, mask.T) and torch.equal(mask, mask.flip(0))


@pytest.mark.parametrize("degrees", [0, 30, -120])
def test_a_shift_of_the_aligned_face_is_one_of_the_picture(degrees):
    """Colours of the picture tell where they come from."""
    before, flow = picture(), torch.zeros(2, 64, 64)
    flow[0], flow[1] = 2.0, 1.0
    matrix = placed(0.8, degrees)
    matrix[:, 2] = 31.5 - matrix[:, :2] @ [80, 60]
    after = moved(before, flow, matrix)
    shift = np.linalg.inv(matrix[:, :2]) @ [2.0, 1.0]
    assert np.abs(after[60, 80, :2] - before[60, 80, :2].astype(float) - shift).max() <= 1
    assert np.array_equal(before, picture())  # the given one stays


@pytest.mark.parametrize(("x", "y"), [(-60, -50), (120, 100), (400, 0)])
def test_a_face_may_leave_the_picture(x, y):
    flow = torch.full((2, 64, 64), 1.5)
    assert moved(picture(), flow, placed(0.5, 0, x, y)).shape == picture().shape


def test_zero_flow_keeps_every_bit():
    random = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    assert np.array_equal(moved(random, torch.zeros(2, 32, 32), placed(0.7, 12)), random)


def test_a_turn_goes_clockwise_and_keeps_the_middle():
    flow = turned(torch.zeros(2, 65, 65), 90)
    assert flow[:, 32, 32].abs().max() < 1e-5
    # The right edge comes from the top: clockwise as one sees it.
    assert flow[:, 32, 64].numpy() == pytest.approx([-32, -32], abs=1e-4)
    same = torch.rand(2, 8, 8)
    assert turned(same, 0) is same


def test_a_flow_is_carried_along_by_the_turn():
    flow = torch.zeros(2, 33, 33)
    flow[0] = 3.0
    assert torch.allclose(turned(flow, 40) - turned(torch.zeros(2, 33, 33), 40), flow, atol=1e-5)
