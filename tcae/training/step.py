"""One training step: all of it is launched without waiting for the GPU, and read afterwards."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tcae.distributed import team
from tcae.objectives.curriculum import Curriculum
from tcae.objectives.twin_cycle import Ramps, TwinCycleObjective
from tcae.training.device import autocast
from tcae.training.optimizer import Optimizer


class Numbers(NamedTuple):
    """What a step amounted to, in all processes together.

    Attributes:
        losses: The loss and the mean of each term, by name.
        norms: "gradient_norm", the length of the gradient before it is clipped, and "update_norm",
            that of the change of all weights.
        failures: Mean number of frames per process that could not be read.
        moved: Whether the weights were updated. If not, something was not finite.
    """

    losses: dict[str, float]
    norms: dict[str, float]
    failures: float
    moved: bool


class Outcome(NamedTuple):
    """The results of a step, as they lie on the device.

    Attributes:
        terms: The losses (N,) of the pairs, by name.
        means: The loss, the mean of each term, the failures, the lengths of gradient and update,
            and 1 if the weights were updated.
    """

    terms: dict[str, Tensor]
    means: Tensor

    def read(self) -> Numbers:
        """Return the numbers. It waits until the GPU has done the step."""
        # At once, as each transfer waits.
        *means, failures, gradient, update, moved = self.means.tolist()
        losses = dict(zip(("loss", *self.terms), means, strict=True))
        norms = {"gradient_norm": gradient, "update_norm": update}
        return Numbers(losses, norms, failures, bool(moved))


class Schedule(NamedTuple):
    """What changes from step to step by itself.

    Attributes:
        ramps: Of the objective.
        rate: The learning rate, a number or () fp32 on the device.
    """

    ramps: Ramps
    rate: float | Tensor


class TrainingStep:
    """Takes optimiser steps. One that is not finite leaves weights and statistics as they were.

    Args:
        objective: The losses of a pair.
        forward: The objective, or what wraps it for several processes.
        curriculum: Chooses among the pairs.
        optimizer: Updates the weights.
    """

    def __init__(
        self,
        objective: TwinCycleObjective,
        forward: nn.Module,
        curriculum: Curriculum,
        optimizer: Optimizer,
    ) -> None:
        self._objective, self._forward = objective, forward
        self.curriculum, self.optimizer = curriculum, optimizer
        self._statistics = _Statistics(objective.buffers())
        self._weights = [parameter.detach() for parameter in objective.parameters()]

    def __call__(self, batch: Mapping[str, Tensor], step: int, total_steps: int | None) -> Outcome:
        """Launch a step.

        Args:
            batch: `source` and `target` (N, 3, S, S) and `tracks` (N,) on the device, and
                `failures` ().
            step: The step, from 0.
            total_steps: The number of steps, None while it is not known.
        """
        return self.take(batch, self.schedule(step, total_steps))

    def schedule(self, step: int, total_steps: int | None) -> Schedule:
        """Return the numbers of a step, counted from 0."""
        return Schedule(self._objective.ramps(step), self.optimizer.rate(step, total_steps))

    def take(self, batch: Mapping[str, Tensor], schedule: Schedule) -> Outcome:
        """Launch a step with the given numbers."""
        source = batch["source"]
        before = self._statistics.copy()
        with autocast(source.device, self.optimizer.config.precision):
            terms = self._forward(source, batch["target"], schedule.ramps, batch["tracks"])
        loss = self.curriculum.loss(terms, schedule.ramps.weights)
        failures = batch["failures"].to(loss, non_blocking=True)
        own = [loss.detach(), *(term.detach().mean() for term in terms.values()), failures]
        means = team.mean(torch.stack(own))
        weights = torch._foreach_add(self._weights, 0)  # copies in one operation
        usable = means.isfinite().all()
        moved, norm = self.optimizer.update(loss, schedule.rate, usable)
        self._statistics.restore_unless(moved, before)
        torch._foreach_sub_(weights, self._weights)
        change = torch.stack(torch._foreach_norm(weights)).norm()
        others = torch.stack([norm, change, moved])
        return Outcome(terms, torch.cat([means, others.to(means)]))


class _Statistics:
    """Buffers that a step changes, such as the running statistics of batch norm."""

    def __init__(self, buffers: Iterable[Tensor]) -> None:
        kinds: dict[torch.dtype, list[Tensor]] = {}
        for buffer in buffers:
            kinds.setdefault(buffer.dtype, []).append(buffer)
        self._kinds = list(kinds.values())

    @torch.no_grad()
    def copy(self) -> list[Tensor]:
        """Return the values of all buffers: one vector of each dtype, so few operations."""
        return [torch.cat([buffer.flatten() for buffer in kind]) for kind in self._kinds]

    @torch.no_grad()
    def restore_unless(self, good: Tensor, values: list[Tensor]) -> None:
        """Set the buffers to earlier values if `good` () is false. The host need not know."""
        for kind, before, now in zip(self._kinds, values, self.copy(), strict=True):
            parts = torch.where(good, now, before).split([math.prod(b.shape) for b in kind])
            shaped = [part.view_as(buffer) for part, buffer in zip(parts, kind, strict=True)]
            torch._foreach_copy_(kind, shaped)
