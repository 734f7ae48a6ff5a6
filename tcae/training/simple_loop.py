"""The training loop of fine-tuning and of the methods that TCAE is compared with.

It needs one loss per sample. TCAE itself has a loop of its own, `tcae.training.trainer`, with
panels and a logbook.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tcae.cli.messages import first_line
from tcae.cli.progress import say
from tcae.cli.signals import StopSignals
from tcae.files.durable import write_durably
from tcae.objectives.curriculum import Curriculum, CurriculumConfig
from tcae.training.device import deterministic, wait_for
from tcae.training.early_stopping import EarlyStopping
from tcae.training.optimizer import Optimizer, OptimizerConfig

Batch = tuple[Tensor, ...]
Losses = Callable[..., Tensor]

_TIMED_STEPS = 10  # steps after which `Recipe.minutes` becomes a number of steps
_SAVE_SECONDS = 60.0
_VALIDATIONS = 40  # in one training
_SCORES = 20  # in one training


@dataclass(frozen=True)
class Recipe:
    """How a network is trained."""

    steps: int
    """Number of optimiser steps."""
    batch_size: int = 32
    """Samples per step."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """The optimiser and its learning rate."""
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)
    """Which samples of a batch learn."""
    minutes: float | None = None
    """Maximum time in minutes. The number of steps is reduced to what fits, after the first few."""


class Interrupted(Exception):
    """A signal that asked to stop. The training is saved and can go on from there.

    Attributes:
        signal: Its number.
    """

    def __init__(self, signal: int) -> None:
        super().__init__(f"stopped by signal {signal}")
        self.signal = signal


def fit(
    network: nn.Module,
    losses: Losses,
    batch_of: Callable[[int], Batch],
    recipe: Recipe,
    path: Path,
    *,
    name: str,
    validation: Sequence[Batch] = (),
    stopping: EarlyStopping | None = None,
    rates: Mapping[str, float] | None = None,
) -> int:
    """Train a network, resume its training, or load it if it is trained already.

    Args:
        network: The network. It is trained in place and left in evaluation mode.
        losses: Computes the losses (N,) of a batch from its tensors.
        batch_of: Returns the batch of a step. It must be a pure function of the step, so that a
            training that was killed goes on as if nothing had happened.
        recipe: How to train.
        path: File with all that is needed to resume. It keeps the trained network.
        name: What lines about progress call the network.
        validation: Batches whose mean loss moves the curriculum's window.
        stopping: Scores the network now and then. The network with the best score is kept.
        rates: Learning rate of each parameter, as a share of the optimiser's, by name. Parameters
            without one are not trained. None: all are, at the same rate.

    Returns:
        The number of steps that it was trained for.

    Raises:
        Interrupted: A signal came, and the state was saved.
        FloatingPointError: A loss is not finite.
        ValueError: The file does not fit the network.
    """
    training = _Training(network, losses, recipe, path, name, validation, stopping, rates)
    if training.step == 0:
        training.score()
    with StopSignals() as stop, deterministic(training.device):
        while not training.ended:
            training.learn(batch_of)
            if stop.received:
                training.save()
                raise Interrupted(stop.received)
    network.eval()
    if stopping is None:
        return training.step
    return stopping.restore(network, training.step)


class _Training:
    """The state of a training."""

    def __init__(
        self,
        network: nn.Module,
        losses: Losses,
        recipe: Recipe,
        path: Path,
        name: str,
        validation: Sequence[Batch],
        stopping: EarlyStopping | None,
        rates: Mapping[str, float] | None,
    ) -> None:
        self.network, self.losses, self.recipe = network, losses, recipe
        self.path, self.name, self.validation = path, name, validation
        self.stopping, self._scoring = stopping, 0.0
        named = dict(network.named_parameters())
        rates = dict.fromkeys(named, 1.0) if rates is None else rates
        trained = [named[name] for name in rates]
        self.optimizer = Optimizer(trained, recipe.optimizer, [*rates.values()])
        self.curriculum = Curriculum(recipe.curriculum)
        self.device = next(network.parameters()).device
        self.step, self.total, self.seconds = 0, recipe.steps, 0.0
        self._recent: list[Tensor] = []  # losses since the last line, still on the device
        if path.exists():
            self._restore()
        self._saved = time.monotonic()
        network.train()

    @property
    def ended(self) -> bool:
        """Return whether all steps are done, or more of them would be of no use."""
        return self.step >= self.total or (self.stopping is not None and self.stopping.stale)

    def learn(self, batch_of: Callable[[int], Batch]) -> None:
        """Take one step. Then validate, report and save if it is time to."""
        start = time.monotonic()
        loss = self._loss(batch_of(self.step))
        self._recent.append(loss.detach())
        self.optimizer.step(loss, self.step, self.total)
        self.step += 1
        if self.step == _TIMED_STEPS:
            wait_for(self.device)
        every = max(self.total // _VALIDATIONS, 1)
        if self.validation and self.step % every == 0:
            self._validate()
        self.seconds += time.monotonic() - start
        if self.recipe.minutes is not None and self.step == _TIMED_STEPS:
            seconds = 60 * self.recipe.minutes - _SCORES * self._scoring
            steps = int(seconds * self.step / max(self.seconds, 1e-9))
            self.total = min(self.total, max(steps, self.step))
        if self.step == self.total or self.step % max(self.total // _SCORES, 1) == 0:
            self.score()
        if self.ended or self.step % (4 * every) == 0:
            self._report()
        if self.ended or time.monotonic() - self._saved > _SAVE_SECONDS:
            self.save()

    def save(self) -> None:
        """Write everything that the rest of the training depends on."""
        if self._recent:
            self._mean_loss()  # for its error
        state = {
            "step": self.step,
            "total": self.total,
            "seconds": self.seconds,
            "network": self.network.state_dict(),
            # The optimiser's state is twice as large as the weights, and of no use in the end.
            "optimizer": None if self.ended else self.optimizer.state_dict(),
            "curriculum": self.curriculum.state_dict(),
            "stopping": self.stopping and self.stopping.state_dict(),
            "random": torch.get_rng_state(),
        }
        content = io.BytesIO()
        torch.save(state, content)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(self.path, content.getvalue())
        self._saved = time.monotonic()

    def _restore(self) -> None:
        try:
            state: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
            self.network.load_state_dict(state["network"])
            if state["optimizer"] is not None:
                self.optimizer.load_state_dict(state["optimizer"])
            self.curriculum.load_state_dict(state["curriculum"])
            if self.stopping is not None:
                self.stopping.load_state_dict(state["stopping"])
            self.step, self.total, self.seconds = state["step"], state["total"], state["seconds"]
            torch.set_rng_state(state["random"])
        except Exception as error:  # a damaged file can make torch.load raise anything
            reason = first_line(error)
            raise ValueError(f"{self.path}: not a training of {self.name} ({reason})") from None

    def _loss(self, batch: Batch) -> Tensor:
        losses = self.losses(*(part.to(self.device) for part in batch))
        return self.curriculum.loss({"loss": losses}, {"loss": 1.0})

    @torch.no_grad()
    def _validate(self) -> None:
        self.network.eval()
        parts = [self.losses(*(p.to(self.device) for p in batch)) for batch in self.validation]
        self.network.train()
        if self.curriculum.observe(float(torch.cat(parts).mean())):
            low, high = self.curriculum.window
            say(f"{self.name}: validation loss saturated, the window moves to {low}-{high}")

    def score(self) -> None:
        """Score the network as it is now, if training may stop early."""
        if self.stopping is None:
            return
        start = time.monotonic()
        self.network.eval()
        self.stopping.observe(self.network, self.step)
        self.network.train()
        self._scoring = time.monotonic() - start

    def _mean_loss(self) -> float:
        """Return the mean loss since the last line, if all were finite."""
        losses = torch.stack(self._recent).tolist()  # the only wait for a GPU in many steps
        for step, loss in enumerate(losses, self.step - len(losses) + 1):
            if not math.isfinite(loss):
                raise FloatingPointError(f"{self.name}: loss of step {step} is not finite")
        return float(sum(losses) / len(losses))

    def _report(self) -> None:
        loss = self._mean_loss()
        self._recent = []
        left = (self.total - self.step) * self.seconds / self.step
        score = "" if self.stopping is None else f"  {self.stopping.line()}"
        say(
            f"{self.name}: step {self.step}/{self.total}  loss {loss:.4g}{score} | "
            f"{int(left) // 60}:{int(left) % 60:02d} left"
        )
