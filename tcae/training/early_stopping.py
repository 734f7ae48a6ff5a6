"""Early stopping: the weights with the best score are kept, and training ends when none follow."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn


class EarlyStopping:
    """The best weights of a training so far.

    Args:
        score: Scores the network as it is now, in evaluation mode. Higher is better, NaN says
            nothing.
        name: What lines about progress call the score.
        patience: How many scores in a row may be no better than the best one before training ends.

    Attributes:
        best: The best score.
    """

    def __init__(self, score: Callable[[], float], name: str, patience: int) -> None:
        self._score, self._name, self._patience = score, name, patience
        self.best, self._last = -math.inf, math.nan
        self._step = self._waited = 0
        self._weights: dict[str, Tensor] | None = None

    @property
    def stale(self) -> bool:
        """Return whether patience has run out."""
        return self._waited >= self._patience

    def observe(self, network: nn.Module, step: int) -> None:
        """Score a network after some steps, and keep a copy of its weights if it is the best."""
        self._last = self._score()
        self._waited += 1
        if self._last > self.best:
            self.best, self._step, self._waited = self._last, step, 0
            self._weights = {name: t.clone() for name, t in network.state_dict().items()}

    def restore(self, network: nn.Module, step: int) -> int:
        """Load the best weights into a network.

        Args:
            network: The network.
            step: How many steps it was trained for.

        Returns:
            How many steps the best one was trained for; `step` if no score was a number.
        """
        if self._weights is None:
            return step
        network.load_state_dict(self._weights)
        return self._step

    def line(self) -> str:
        """Say the last score and the best one."""
        return f"{self._name} {self._last:.3f} (best {max(self.best, 0):.3f})"

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the rest of the training depends on."""
        names = ("best", "_last", "_step", "_waited", "_weights")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        for name, value in state.items():
            setattr(self, name, value)
