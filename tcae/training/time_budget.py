"""How many steps fit into a time: ``--minutes``."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tcae.cli.progress import Stopwatch
from tcae.objectives.curriculum import Curriculum
from tcae.objectives.twin_cycle import TwinCycleObjective

_PASSES = 5


def steps_that_fit(seconds: float, light: float, full: float, light_steps: int) -> int:
    """How many steps fit into a time when the first ones are lighter than the others.

    Args:
        seconds: The time.
        light: Seconds of each of the first `light_steps` steps.
        full: Seconds of each step after them.
        light_steps: How many steps are light; 0 or less: none.

    Example:
        >>> steps_that_fit(10.0, light=0.5, full=1.0, light_steps=4)
        12
    """
    light_steps = max(light_steps, 0)
    rest = seconds - light_steps * light
    return light_steps + int(rest / full) if rest > 0 else max(int(seconds / light), 0)


def first_full_step(objective: TwinCycleObjective) -> int:
    """The first step with all terms: before it, ramps leave some out and steps are light."""
    names = [name for name, weight in objective.weights().items() if weight]
    return next(
        step for step in itertools.count() if all(objective.weights(step)[name] for name in names)
    )


def time_full_step(
    forward: nn.Module,
    weights: Mapping[str, float],
    curriculum: Curriculum,
    source: Tensor,
    target: Tensor,
) -> float:
    """Seconds that a step with all terms takes; it leaves no trace in the model but gradients.

    Args:
        forward: The objective, perhaps wrapped, in training mode.
        weights: Of its terms.
        curriculum: As it is now.
        source: Images (N, 3, S, S) of one batch.
        target: The same.
    """
    buffers = [(buffer, buffer.clone()) for buffer in forward.buffers()]
    watch = Stopwatch()
    with torch.random.fork_rng():
        for _ in range(_PASSES):
            terms = forward(source, target)
            curriculum.loss(terms, weights).backward()
    seconds = watch.lap() / _PASSES
    for buffer, before in buffers:
        buffer.copy_(before)
    return seconds
