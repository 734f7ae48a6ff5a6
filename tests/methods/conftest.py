from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor


class Cartoons:
    """Coloured ovals that move and open their mouths: quick to draw, quick to learn from."""

    def __init__(self, size: int) -> None:
        self.size = size

    def pairs(self, count: int, seed: int) -> tuple[Tensor, Tensor]:
        """Sources and targets (N, 3, S, S) uint8: the same oval at two places."""
        random = np.random.default_rng(seed)
        shift = random.uniform(-0.12, 0.12, (2, count, 2))
        colour = random.uniform(40, 250, (count, 3))
        still = np.zeros(count)
        return self._draw(shift[0], colour, still), self._draw(shift[1], colour, still)

    def labelled(self, count: int, seed: int) -> tuple[Tensor, Tensor]:
        """Pictures (N, 3, S, S) uint8, and labels (N, 2): mouth open, and a coin's side."""
        random = np.random.default_rng(seed)
        labels = random.integers(0, 2, (count, 2))
        shift = random.uniform(-0.05, 0.05, (count, 2))
        colour = random.uniform(150, 250, (count, 3))
        return self._draw(shift, colour, labels[:, 0]), torch.from_numpy(labels).float()

    def _draw(self, shift: np.ndarray, colour: np.ndarray, mouth: np.ndarray) -> Tensor:
        at = (np.arange(self.size) + 0.5) / self.size - 0.5
        x = at[None, None, :] - shift[:, 0, None, None]
        y = at[None, :, None] - shift[:, 1, None, None]
        inside = 1 / (1 + np.exp(40 * (np.hypot(x / 0.7, y) - 0.35)))
        hole = 1 / (1 + np.exp(60 * (np.hypot(x, y - 0.15) - 0.09)))
        shade = inside * (1 - hole * mouth[:, None, None])
        picture = 30 + colour[:, :, None, None] * shade[:, None]
        return torch.from_numpy(picture.clip(0, 255).astype(np.uint8))


@pytest.fixture(params=[32])
def cartoons(request: pytest.FixtureRequest) -> Cartoons:
    """Cartoons of 32 pixels, or as large as a test's parameter says."""
    return Cartoons(request.param)
