"""The curriculum: which samples of a batch learn (section 4.1).

The samples of a batch are sorted by their loss, easiest first, and only those in a window of this
order learn. The window moves on whenever the validation loss has saturated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from tcae.distributed import ranks
from tcae.files.options import Formerly


@dataclass(frozen=True)
class CurriculumConfig:
    """When which part of a batch learns."""

    windows: tuple[tuple[float, float], ...] = ((0.0, 1.0),)
    """Parts of the sorted batch that learn, one after the other: low and high as shares of it
    (0 = easiest). To let every sample learn at first, begin with 0 1."""
    patience: int = 16
    """Validations without a new best after which the loss counts as saturated."""
    order: Annotated[Literal["sample", "term"], Formerly("ranking")] = "sample"
    """What the batch is sorted by. sample: the weighted total of each sample (paper); term: each
    loss term by itself, so that every term has a window of its own (released code)."""

    def __post_init__(self) -> None:
        if not self.windows:
            raise ValueError("windows is empty, it needs at least one (low, high)")
        for low, high in self.windows:
            if not 0 <= low < high <= 1:
                raise ValueError(f"windows holds ({low}, {high}), it needs 0 <= low < high <= 1")
        if self.patience < 1:
            raise ValueError(f"patience is {self.patience}, it must be at least 1")
        if self.order not in ("sample", "term"):
            raise ValueError(f"order is {self.order!r}, it must be 'sample' or 'term'")


CURRICULUM_PRESETS: dict[str, CurriculumConfig] = {
    "default": CurriculumConfig(),
    "paper": CurriculumConfig(windows=((0.0, 0.5), (0.1, 0.6), (0.2, 0.7))),
    "official": CurriculumConfig(
        windows=((0.0, 0.5), (0.1, 0.6), (0.2, 0.7), (0.3, 0.8), (0.4, 0.9)), order="term"
    ),
}
"""The paper's three windows, the released code's five, and ours: every sample learns.

Measured as for `MODEL_PRESETS`: .608 of the unmoved source's L1 after 600 steps with all samples,
.672 with 10-90 %; .698 after 400 steps with all, .964 with the easiest half, which hardly moves.
"""


class Curriculum:
    """Turns per-sample losses into the scalar to minimise, and follows the validation loss.

    Example:
        >>> curriculum = Curriculum(CurriculumConfig(windows=((0.0, 0.5),)))
        >>> curriculum.loss({"rec": torch.tensor([4.0, 1.0, 3.0, 9.0])}, {"rec": 1.0})
        tensor(2.)
    """

    def __init__(self, config: CurriculumConfig) -> None:
        self.config = config
        self._window = 0
        self._best = math.inf
        self._stale = 0

    @property
    def window(self) -> tuple[float, float]:
        """Return the part (low, high) of the sorted batch that learns now."""
        return self.config.windows[self._window]

    def loss(self, terms: Mapping[str, Tensor], weights: Mapping[str, float | Tensor]) -> Tensor:
        """Return the mean weighted loss of the samples in the window, a scalar.

        With several processes each holds a part of the batch. The samples of all are sorted
        together, and the loss is the mean over the processes.

        Args:
            terms: Per-sample losses (N,) by name.
            weights: The weights, numbers or (). Terms without one are left out.
        """
        weighted = [weights[name] * term for name, term in terms.items() if name in weights]
        if self.config.order == "sample":
            weighted = [torch.stack(weighted).sum(0)]
        return torch.stack([self._mean_in_window(losses) for losses in weighted]).sum()

    def observe(self, validation_loss: float) -> bool:
        """Take note of the loss of one validation, and return whether the window moved on.

        The window moves after `patience` validations that did not beat the best loss since the last
        move. The last window stays. A loss that is NaN or infinite is ignored: it is never the
        best, and does not count as a validation.
        """
        if not math.isfinite(validation_loss):
            return False
        if validation_loss < self._best:
            self._best, self._stale = validation_loss, 0
            return False
        self._stale += 1
        if self._stale < self.config.patience or self._window + 1 == len(self.config.windows):
            return False
        self._window, self._best, self._stale = self._window + 1, math.inf, 0
        return True

    def state_dict(self) -> dict[str, int | float]:
        """Return where the curriculum is, in plain numbers."""
        return {"window": self._window, "best": self._best, "stale": self._stale}

    def load_state_dict(self, state: Mapping[str, int | float]) -> None:
        """Go on from a saved state.

        Raises:
            ValueError: The state's window does not exist in this configuration.
        """
        window = int(state["window"])
        if not 0 <= window < len(self.config.windows):
            raise ValueError(
                f"the saved curriculum is in window {window}, "
                f"curriculum.windows has {len(self.config.windows)}"
            )
        self._window, self._best, self._stale = window, state["best"], int(state["stale"])

    def _mean_in_window(self, losses: Tensor) -> Tensor:
        chosen, count = in_window(ranks.gather(losses.detach()), self.window)
        own = chosen.chunk(ranks.world_size())[ranks.rank()]
        return torch.where(own, losses, 0.0).sum() * ranks.world_size() / count


def in_window(losses: Tensor, window: tuple[float, float]) -> tuple[Tensor, int]:
    """Return which samples are in a window of the sorted losses.

    This is the one place where losses are sorted. Places floor(low N) to floor(high N) - 1 of their
    order are in the window, and at least one sample is. Equal losses keep the order of the batch.
    NaN comes last, behind infinity, so a window that ends below 1 leaves out as many as fit above
    it.

    Args:
        losses: (N,).
        window: Shares (low, high) of the sorted losses.

    Returns:
        A mask (N,), and how many samples it holds.
    """
    count = len(losses)
    # The small term keeps products such as 0.29 * 100 = 28.999... at the integer that is meant.
    first = min(math.floor(window[0] * count + 1e-9), count - 1)
    last = max(math.floor(window[1] * count + 1e-9), first + 1)
    order = losses.detach().argsort(stable=True)
    # Not by an index: setting values by one waits for the GPU.
    chosen = torch.zeros_like(losses, dtype=torch.bool).scatter(0, order[first:last], True)
    return chosen, last - first
