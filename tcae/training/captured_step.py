"""A whole training step as one CUDA graph: recorded once, then launched at once. Not run on a GPU.

A GPU that replays a graph gets the same pointers and numbers every time. So what a step reads lies
at fixed places, which are filled before each replay, and where a step does other things than the
one that was recorded, another is recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from tcae.cli.messages import first_line
from tcae.distributed import ranks
from tcae.objectives.twin_cycle import Ramps
from tcae.training.device import wait_for
from tcae.training.step import Outcome, Schedule, TrainingStep

T = TypeVar("T")

_WARM_UP = 3  # steps before a recording: by then libraries and kernels are loaded (torch's advice)
_READ = ("source", "target", "tracks", "failures")  # of a batch, by a step


class CapturedStep:
    """Takes the steps of a `TrainingStep`, to the same bits, without its host time.

    A new kind of step (other terms, another window of the curriculum, another size of the batch) is
    taken a few times as it is, then recorded, then replayed. Statistics, weights, the optimiser's
    state and random numbers are those of the step itself, so that a run can be resumed anywhere.

    Args:
        step: The step.
        device: The GPU.

    Raises:
        ValueError: The device is none, or several processes train together.
    """

    def __init__(self, step: TrainingStep, device: torch.device) -> None:
        self._step, self._device = step, device
        self._graph = CudaGraph(device)
        self._kind: tuple[object, ...] | None = None
        self._inputs: _Inputs
        self._taken = 0  # steps of this kind
        self._outcome: Outcome

    def __call__(self, batch: Mapping[str, Tensor], step: int, total_steps: int | None) -> Outcome:
        """Launch a step; see `TrainingStep.__call__`.

        Raises:
            ValueError: It cannot be recorded.
        """
        schedule = self._step.schedule(step, total_steps)
        kind = (*schedule.ramps.weights, self._step.curriculum.window, batch["source"].shape)
        if kind != self._kind:
            wait_for(self._device)  # the graph that ends here may still be running
            self._graph, self._inputs = CudaGraph(self._device), _Inputs(batch, schedule)
            self._kind, self._taken = kind, 0
        self._inputs.fill(batch, schedule)
        take = partial(self._step.take, self._inputs.batch, self._inputs.schedule)
        self._taken += 1
        if self._taken <= _WARM_UP:
            return _copy(self._graph.aside(take))
        if self._taken == _WARM_UP + 1:
            with self._step.optimizer.recorded():
                self._outcome = _detached(self._graph.record(take))
        self._graph.replay()
        return _copy(self._outcome)


class _Inputs:
    """What a recorded step reads: a batch and the numbers of a schedule, at fixed places.

    Args:
        batch: A batch of the size of all that follow.
        schedule: The numbers of a step with the terms of all that follow.
    """

    def __init__(self, batch: Mapping[str, Tensor], schedule: Schedule) -> None:
        device = batch["source"].device
        self.batch = {name: torch.empty_like(batch[name], device=device) for name in _READ}
        names = schedule.ramps.weights
        self._numbers = torch.zeros(len(names) + 2, device=device)
        *weights, pose_share, rate = self._numbers.unbind()
        self.schedule = Schedule(Ramps(dict(zip(names, weights, strict=True)), pose_share), rate)

    def fill(self, batch: Mapping[str, Tensor], schedule: Schedule) -> None:
        """Put another batch and other numbers there."""
        weights, pose_share = schedule.ramps
        on_gpu = self._numbers.is_cuda
        # Copied from pinned memory, as else the copy might wait for the GPU.
        now = torch.tensor([*weights.values(), pose_share, schedule.rate], pin_memory=on_gpu)
        self._numbers.copy_(now, non_blocking=True)
        for name, place in self.batch.items():
            place.copy_(batch[name], non_blocking=True)


class CudaGraph:
    """What a function launches on a GPU, recorded to be launched again. For one function.

    Args:
        device: The GPU.

    Raises:
        ValueError: The device is none, or several processes train together.
    """

    def __init__(self, device: torch.device) -> None:
        if device.type != "cuda":
            raise ValueError(f"--compile step: needs a GPU, the device is {device.type}")
        if ranks.world_size() > 1:
            raise ValueError(
                f"--compile step: there are {ranks.world_size()} processes, and it was never tried "
                "to record what they tell each other; --compile passes can be used"
            )
        self._stream = torch.cuda.Stream(device)
        self._graph = torch.cuda.CUDAGraph()

    def aside(self, run: Callable[[], T]) -> T:
        """Run the function on the stream where it is recorded later, to prepare all it needs."""
        working = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(working)
        with torch.cuda.stream(self._stream):
            result = run()
        working.wait_stream(self._stream)
        return result

    def record(self, run: Callable[[], T]) -> T:
        """Record what the function launches. Its result, which each replay overwrites, is not set.

        Raises:
            ValueError: Something in it cannot be recorded.
        """
        try:
            # Only this thread's calls count: the data loader's threads may allocate meanwhile.
            with torch.cuda.graph(
                self._graph, stream=self._stream, capture_error_mode="thread_local"
            ):
                return run()
        except RuntimeError as error:
            raise ValueError(
                f"--compile step: the GPU cannot record a step ({first_line(error)}); "
                "--compile passes or none does without"
            ) from error

    def replay(self) -> None:
        """Launch what was recorded."""
        self._graph.replay()


def replayed(run: Callable[[], object], device: torch.device) -> Callable[[], None]:
    """Return a function that replays what another one launches, which is run once before."""
    graph = CudaGraph(device)
    graph.aside(run)
    graph.record(run)
    return graph.replay


def _detached(outcome: Outcome) -> Outcome:
    """Let go of what the gradient was computed from: it is tied to the stream of the recording."""
    return Outcome({name: term.detach() for name, term in outcome.terms.items()}, outcome.means)


@torch.no_grad()
def _copy(outcome: Outcome) -> Outcome:
    """Return a copy, as the next step overwrites what a recorded one returned."""
    # In one operation; the step returns tensors of one dtype.
    means, *terms = torch._foreach_add([outcome.means, *outcome.terms.values()], 0)
    return Outcome(dict(zip(outcome.terms, terms, strict=True)), means)
