"""The budget of an experiment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """How long each training of an experiment may take. None: as long as its recipe says.

    Attributes:
        image_size: Side of the images in pixels.
        twin_cycle: Minutes of training for TCAE.
        baseline: Minutes of training for each other self-supervised network.
        fold: Minutes of training for each supervised network and fold.
        ablation: Minutes of training for each variant of the ablation.
        ablation_size: Side of the images of the ablation. None: that of all others. If minutes are
            limited, smaller images leave time for steps with all loss terms.
        pairs: Number of pairs of frames in Figure 5.
    """

    image_size: int
    twin_cycle: float | None
    baseline: float | None
    fold: float | None
    ablation: float | None
    ablation_size: int | None = None
    pairs: int = 6400


BUDGETS = {
    "small": Budget(64, twin_cycle=8.0, baseline=3.0, fold=0.6, ablation=2.0, ablation_size=32),
    "full": Budget(256, twin_cycle=None, baseline=None, fold=None, ablation=None),
}
"""Budgets by name. With "small", an experiment takes less than an hour on two cores."""
