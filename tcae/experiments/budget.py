"""How much an experiment may cost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """What an experiment may cost; None: as long as the recipe says.

    Attributes:
        image_size: Side of the images in pixels.
        twin_cycle: Minutes of training for TCAE.
        baseline: Minutes of training for each other self-supervised network.
        fold: Minutes of training for each supervised network and fold.
        ablation: Minutes of training for each variant of the ablation.
        ablation_size: Side of the images of the ablation; None: as of all others. Where minutes
            are short, smaller images leave time for steps in which all loss terms count.
        pairs: Pairs of frames of Figure 5.
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
"""small: the whole of an experiment within an hour on two cores."""
