"""Images per second of a training step of the preset `default`, losses fully ramped up."""

from __future__ import annotations

import torch

from benchmarks.cases import DEVICE
from benchmarks.measuring import synchronised
from tcae.config import PRESETS
from tcae.engine.optimizer import Optimizer
from tcae.models.twin_cycle import TwinCycle
from tcae.objectives.curriculum import Curriculum
from tcae.objectives.twin_cycle import TwinCycleObjective

IMAGE_SIZE, BATCH_SIZE, STEPS = 64, 32, 1_000_000


def test_training_step(benchmark):
    config = PRESETS["default"]
    torch.manual_seed(0)
    model = TwinCycle(config.model, IMAGE_SIZE).to(DEVICE, memory_format=torch.channels_last)
    objective = TwinCycleObjective(model, config.objective)
    curriculum = Curriculum(config.curriculum)
    optimizer = Optimizer(model.parameters(), config.optimizer)
    shape = (2, BATCH_SIZE, 3, IMAGE_SIZE, IMAGE_SIZE)
    images = torch.randint(256, shape, dtype=torch.uint8, device=DEVICE)
    source, target = (i.contiguous(memory_format=torch.channels_last) for i in images)

    def step():
        terms = objective(source, target, STEPS)
        optimizer.step(curriculum.loss(terms, objective.weights(STEPS)), STEPS, 2 * STEPS)
        return tuple(terms.values())

    first, *_ = synchronised(step)()
    assert first.isfinite().all()
    benchmark.group = "training step"
    benchmark.pedantic(synchronised(step), rounds=5, warmup_rounds=1)
    if benchmark.enabled:
        benchmark.extra_info |= {
            "image_size": IMAGE_SIZE,
            "batch_size": BATCH_SIZE,
            "images_per_second": BATCH_SIZE / benchmark.stats.stats.median,
        }
