"""Steps on trial: how long one takes and how much it computes. They change nothing in the model."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tcae.cli.progress import Stopwatch
from tcae.objectives.curriculum import Curriculum
from tcae.objectives.twin_cycle import TwinCycleObjective
from tcae.training.captured_step import replayed
from tcae.training.device import Compiled, autocast, begin_step, wait_for

_PASSES = 5


class TrialSteps:
    """Steps without an update, of some pairs. They leave nothing behind but gradients.

    With several processes, all of them take the same ones.

    Args:
        objective: The losses of a pair, in training mode.
        forward: The objective, or what wraps it for several processes.
        curriculum: Chooses among the pairs, as it is at the time of a step.
        pair: Source and target images (N, 3, S, S) of a batch.
        precision: `OptimizerConfig.precision`.
        compiled: What of training is compiled.
    """

    def __init__(
        self,
        objective: TwinCycleObjective,
        forward: nn.Module,
        curriculum: Curriculum,
        pair: tuple[Tensor, Tensor],
        precision: str,
        compiled: Compiled,
    ) -> None:
        self._objective, self._forward, self._curriculum = objective, forward, curriculum
        self._pair, self._precision, self._compiled = pair, precision, compiled
        self._counted: dict[frozenset[str], int] = {}

    def seconds(self) -> float:
        """Measure how many seconds a step with all loss terms takes.

        A first step is not timed: on a GPU it may compile kernels and record graphs.
        """
        device, watch = self._pair[0].device, Stopwatch()
        take: Callable[[], None] = partial(self._take, None)
        with self._leaving_no_trace():
            if self._compiled == "step":
                take = replayed(take, device)
            take()
            wait_for(device)
            watch.lap()
            for _ in range(_PASSES):
                take()
            wait_for(device)
        return watch.lap() / _PASSES

    def flops(self, step: int) -> int:
        """Count the floating-point operations of convolutions and matrix products in a step.

        They are counted once for all steps with the same loss terms, without compilation.
        """
        terms = frozenset(name for name, weight in self._objective.weights(step).items() if weight)
        if terms not in self._counted:
            with self._leaving_no_trace(), _eager(self._compiled == "passes"):
                with FlopCounterMode(display=False) as counter:
                    self._take(step)
                self._counted[terms] = counter.get_total_flops()
        return self._counted[terms]

    def _take(self, step: int | None) -> None:
        begin_step(self._compiled == "passes")
        with autocast(self._pair[0].device, self._precision):
            terms = self._forward(*self._pair, step)
        self._curriculum.loss(terms, self._objective.weights(step)).backward()

    @contextlib.contextmanager
    def _leaving_no_trace(self) -> Iterator[None]:
        buffers = [(buffer, buffer.clone()) for buffer in self._objective.buffers()]
        with torch.random.fork_rng():
            yield
        for buffer, before in buffers:
            buffer.copy_(before)


@contextlib.contextmanager
def _eager(compiled: bool) -> Iterator[None]:
    """Compute compiled passes as they were before. Operators in a compiled one are not seen."""
    if not compiled:  # asking the compiler would load it
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield
