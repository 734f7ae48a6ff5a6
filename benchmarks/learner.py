"""A training step of ours, as the trainer runs it, without files and messages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from benchmarks.cases import DEVICE
from tcae.models.encoder import Encoder
from tcae.models.twin_cycle import TwinCycle
from tcae.objectives.curriculum import Curriculum
from tcae.objectives.twin_cycle import TwinCycleObjective
from tcae.training.config import PRESETS
from tcae.training.device import configure_passes
from tcae.training.optimizer import Optimizer

STEPS = 1_000_000  # after so many steps all losses have their full weight
Learn = Callable[[Tensor, Tensor], tuple[Tensor, ...]]


def learner(
    preset: str, precision: str, side: int, *, compiled: bool = False, recomputed: bool = False
) -> Learn:
    """Return a function that learns from images (N, 3, side, side) and returns the terms (N,)."""
    config = PRESETS[preset]
    torch.manual_seed(0)
    model = TwinCycle(Encoder(config.model, side))
    model.to(DEVICE, memory_format=torch.channels_last)
    configure_passes(model, compiled, recomputed)
    objective = TwinCycleObjective(model, config.objective)
    curriculum = Curriculum(config.curriculum)
    settings = replace(config.optimizer, precision=precision, warmup_steps=0)
    optimizer = Optimizer(model.parameters(), settings)

    def learn(source: Tensor, target: Tensor) -> tuple[Tensor, ...]:
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=precision == "bf16"):
            terms = objective(source, target, STEPS)
        optimizer.step(curriculum.loss(terms, objective.weights(STEPS)), STEPS, 2 * STEPS)
        return tuple(terms[name].detach() for name in sorted(terms))

    return learn
