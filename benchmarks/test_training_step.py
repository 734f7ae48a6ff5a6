"""A step of training against the released code's step, in turns: images per second and memory."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from benchmarks import measuring
from benchmarks.cases import DEVICE
from benchmarks.yardstick import Yardstick
from tcae.config import PRESETS
from tcae.engine.optimizer import Optimizer
from tcae.models.twin_cycle import MODEL_PRESETS, TwinCycle
from tcae.objectives.curriculum import Curriculum
from tcae.objectives.twin_cycle import TwinCycleObjective

SHAPES = [(32, 64), (8, 256)]  # batch, side
STEPS = 1_000_000  # of losses that are fully ramped up
Step = Callable[[], tuple[Tensor, ...]]


def pair(batch: int, side: int) -> tuple[Tensor, Tensor]:
    images = torch.randint(256, (2, batch, 3, side, side), dtype=torch.uint8, device=DEVICE)
    return images[0], images[1]


def ours(preset: str, precision: str, source: Tensor, target: Tensor) -> Step:
    config = PRESETS[preset]
    torch.manual_seed(0)
    model = TwinCycle(config.model, source.shape[-1])
    model.to(DEVICE, memory_format=torch.channels_last)
    objective = TwinCycleObjective(model, config.objective)
    curriculum = Curriculum(config.curriculum)
    settings = replace(config.optimizer, precision=precision, warmup_steps=0)
    optimizer = Optimizer(model.parameters(), settings)
    source, target = (i.contiguous(memory_format=torch.channels_last) for i in (source, target))

    def step() -> tuple[Tensor, ...]:
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=precision == "bf16"):
            terms = objective(source, target, STEPS)
        optimizer.step(curriculum.loss(terms, objective.weights(STEPS)), STEPS, 2 * STEPS)
        return tuple(term.detach() for term in terms.values())

    return measuring.synchronised(step)


def yardstick(source: Tensor, target: Tensor) -> Step:
    torch.manual_seed(0)
    model = TwinCycle(MODEL_PRESETS["official"], source.shape[-1]).to(DEVICE)
    rival = Yardstick(model)

    def step() -> tuple[Tensor, ...]:
        return tuple(term.detach() for term in rival.step(source, target).values())

    return measuring.synchronised(step)


def bf16_is_there() -> bool:
    return DEVICE.type == "cuda" or torch.ops.mkldnn._is_mkldnn_bf16_supported()


@pytest.mark.parametrize(("batch", "side"), SHAPES, ids=[f"{b}x3x{s}x{s}" for b, s in SHAPES])
@pytest.mark.parametrize(
    ("preset", "precision"), [("official", "fp32"), ("default", "fp32"), ("default", "bf16")]
)
def test_training_step(benchmark, preset, precision, batch, side):
    if precision == "bf16" and not bf16_is_there():
        pytest.skip("this processor has no bf16")
    images = pair(batch, side)
    run, rival = ours(preset, precision, *images), yardstick(*images)
    first, other = run(), rival()
    assert all(term.isfinite().all() for term in first)
    if preset == "official":  # the same mathematics, term by term
        _, relative = measuring.compare(sorted_terms(first), sorted_terms(other))
        assert max(relative) < 1e-3
    times: list[float] = []
    benchmark.group = f"training step {batch}x3x{side}x{side}"
    elsewhere = measuring.Elsewhere()
    benchmark.pedantic(
        run, setup=lambda: times.append(measuring.seconds(rival)), rounds=5, warmup_rounds=1
    )
    if benchmark.disabled:
        return
    disturbed = elsewhere.share()
    median = benchmark.stats.stats.median
    memory, rival_memory = measuring.extra_bytes(run), measuring.extra_bytes(rival)
    benchmark.extra_info |= {
        "preset": preset,
        "precision": precision,
        "image_size": side,
        "batch_size": batch,
        "images_per_second": batch / median,
        "speed_over_released": statistics.median(times) / median,
        "memory_over_released": memory / rival_memory if memory and rival_memory else None,
        "extra_bytes": memory,
        "cores_taken_elsewhere": disturbed,
    }


def sorted_terms(terms: tuple[Tensor, ...]) -> list[Tensor]:
    """Terms in an order that does not depend on who computed them."""
    return sorted(terms, key=lambda term: float(term.sum()))
