"""Our training step, alternating with the released code's: images per second and memory."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from benchmarks import measuring
from benchmarks.cases import DEVICE
from benchmarks.learner import learner
from benchmarks.yardstick import Yardstick
from tcae.models.encoder import Encoder
from tcae.models.model_config import MODEL_PRESETS
from tcae.models.twin_cycle import TwinCycle
from tcae.training.device import supports_bf16

pytestmark = pytest.mark.every_case

SHAPES = [(32, 64), (8, 256)]  # batch, side
OPTIONS = {"": {}, "compile passes": {"compiled": True}, "recompute": {"recomputed": True}}
Step = Callable[[], tuple[Tensor, ...]]


def pair(batch: int, side: int) -> tuple[Tensor, Tensor]:
    images = torch.randint(256, (2, batch, 3, side, side), dtype=torch.uint8, device=DEVICE)
    return images[0], images[1]


def ours(preset: str, precision: str, source: Tensor, target: Tensor, **options: bool) -> Step:
    learn = learner(preset, precision, source.shape[-1], **options)
    images = [i.contiguous(memory_format=torch.channels_last) for i in (source, target)]
    return measuring.synchronised(lambda: learn(*images))


def yardstick(source: Tensor, target: Tensor) -> Step:
    torch.manual_seed(0)
    model = TwinCycle(Encoder(MODEL_PRESETS["official"], source.shape[-1])).to(DEVICE)
    rival = Yardstick(model)

    def step() -> tuple[Tensor, ...]:
        terms = rival.step(source, target)
        return tuple(terms[name].detach() for name in sorted(terms))

    return measuring.synchronised(step)


@functools.cache
def memory_of_yardstick(batch: int, side: int) -> int | None:
    return measuring.extra_bytes(yardstick(*pair(batch, side)))


@pytest.mark.parametrize(("batch", "side"), SHAPES, ids=[f"{b}x3x{s}x{s}" for b, s in SHAPES])
@pytest.mark.parametrize(
    ("preset", "precision", "option"),
    [
        ("official", "fp32", ""),
        ("official", "fp32", "recompute"),
        ("default", "fp32", ""),
        ("default", "bf16", ""),
        ("default", "bf16", "recompute"),
        ("default", "bf16", "compile passes"),
    ],
)
def test_training_step(benchmark, preset, precision, option, batch, side):
    if precision == "bf16" and not supports_bf16(DEVICE):
        pytest.skip("this processor has no bf16")
    images = pair(batch, side)
    run, rival = ours(preset, precision, *images, **OPTIONS[option]), yardstick(*images)
    first, other = run(), rival()
    assert all(term.isfinite().all() for term in first)
    if preset == "official":  # the same mathematics, term by term
        _, relative = measuring.compare(first, other)
        assert max(relative) < 1e-3
    times: list[float] = []
    benchmark.group = f"training step {batch}x3x{side}x{side}"
    others = measuring.OtherProcesses()
    benchmark.pedantic(run, setup=lambda: times.append(measuring.seconds(rival)), rounds=5)
    if benchmark.disabled:
        return
    disturbed = others.share()
    median = benchmark.stats.stats.median
    memory, rival_memory = measuring.extra_bytes(run), memory_of_yardstick(batch, side)
    benchmark.extra_info |= {
        "preset": preset,
        "precision": precision,
        "option": f", --{option}" if option else "",
        "image_size": side,
        "batch_size": batch,
        "images_per_second": batch / median,
        "speed_over_released": statistics.median(times) / median,
        "memory_over_released": memory / rival_memory if memory and rival_memory else None,
        "extra_bytes": memory,
        "cores_taken_elsewhere": disturbed,
    }
