"""What the networks that learn from labels have in common."""

from __future__ import annotations

from tcae.training.optimizer import OptimizerConfig
from tcae.training.simple_loop import Recipe

SUPERVISED_RECIPE = Recipe(
    steps=20_000, batch_size=64, optimizer=OptimizerConfig(learning_rate=3e-4)
)
"""About nine passes over BP4D's frames; ours, as the published ones differ from each other."""
