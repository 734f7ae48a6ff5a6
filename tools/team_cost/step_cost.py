"""Measures the processor time of a training step in this process of a team, or alone.

usage: [torchrun ...] python step_cost.py PAIRS STEPS FILE [apart]

With `apart` each process has statistics of batch norm of its own (--no-sync-batch-norm).

Rank 0 writes a JSON object: seconds of processor time of a step, and what its collectives are.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from tcae.distributed import ranks
from tcae.distributed.team import ending_safely, team
from tcae.models.batch_norm import convert_sync_batch_norm
from tcae.models.encoder import Encoder
from tcae.models.model_config import MODEL_PRESETS
from tcae.models.twin_cycle import TwinCycle
from tcae.objectives.curriculum import CURRICULUM_PRESETS, Curriculum
from tcae.objectives.objective_config import OBJECTIVE_PRESETS
from tcae.objectives.twin_cycle import TwinCycleObjective
from tcae.training.device import data_parallel
from tcae.training.optimizer import OPTIMIZER_PRESETS, Optimizer
from tcae.training.step import TrainingStep

SIZE, TOTAL = 64, 1_000_000  # in the middle of so many steps all losses have their full weight

Call = tuple[str, int]  # "gather" or "reduce", and the bytes that a process has of it


def step_of(pairs: int, together: bool) -> tuple[TwinCycle, Callable[[int], object]]:
    """Return a model and a function that takes a step of preset `default`."""
    torch.manual_seed(0)
    model = TwinCycle(Encoder(MODEL_PRESETS["default"], SIZE))
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if together:
        convert_sync_batch_norm(model)  # alone, too: its arithmetic is not that of torch's
    objective = TwinCycleObjective(model, OBJECTIVE_PRESETS["default"])
    forward = data_parallel(objective, torch.device("cpu"))
    optimizer = Optimizer(objective.parameters(), OPTIMIZER_PRESETS["default"])
    take = TrainingStep(objective, forward, Curriculum(CURRICULUM_PRESETS["default"]), optimizer)
    images = torch.rand(2, pairs, 3, SIZE, SIZE).mul(255).to(torch.uint8)
    source, target = (it.contiguous(memory_format=torch.channels_last) for it in images)
    batch = {"source": source, "target": target, "failures": torch.zeros(())}
    batch["tracks"] = torch.arange(pairs) + pairs * ranks.rank()
    return model, lambda number: take(batch, TOTAL // 2 + number, TOTAL).read()


@contextmanager
def recorded() -> Iterator[list[Call]]:
    """Note what is sent by Python code. The gradients are not, which torch averages."""
    calls: list[Call] = []
    gather, reduce = dist.all_gather, dist.all_reduce

    def all_gather(parts: list[torch.Tensor], own: torch.Tensor) -> None:
        calls.append(("gather", own.nbytes))
        gather(parts, own)

    def all_reduce(values: torch.Tensor, *others: Any) -> None:
        calls.append(("reduce", values.nbytes))
        reduce(values, *others)

    dist.all_gather, dist.all_reduce = all_gather, all_reduce  # type: ignore[assignment]
    try:
        yield calls
    finally:
        dist.all_gather, dist.all_reduce = gather, reduce


def seconds(run: Callable[[int], object], times: int) -> float:
    """Return the median processor time of this process for one of some runs."""
    run(0)
    clock = [time.process_time()]
    for number in range(1, times + 1):
        run(number)
        clock.append(time.process_time())
    return statistics.median(b - a for a, b in pairwise(clock))


def main() -> int:
    """Measure."""
    pairs, times = map(int, sys.argv[1:3])
    torch.set_num_threads(1)
    with team("cpu", 600.0):
        model, take = step_of(pairs, together="apart" not in sys.argv)
        take(0)
        with recorded() as calls:
            take(1)
        # The processes agree on a signal and on the time after each step.
        calls = [*calls, ("reduce", 16)] if ranks.world_size() > 1 else []
        gradients = 4 * sum(it.numel() for it in model.parameters())
        sent = [*calls, ("reduce", gradients)] if calls else []
        found: dict[str, Any] = {"step": seconds(take, times), "calls": sent}
        if ranks.rank() == 0:
            Path(sys.argv[3]).write_text(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(ending_safely(main))
