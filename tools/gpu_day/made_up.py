"""Faces nobody has, and training steps on them, without files and without other libraries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from tcae.models.encoder import Encoder
from tcae.models.model_config import MODEL_PRESETS
from tcae.models.twin_cycle import TwinCycle
from tcae.objectives.curriculum import CURRICULUM_PRESETS, Curriculum
from tcae.objectives.objective_config import OBJECTIVE_PRESETS
from tcae.objectives.twin_cycle import TwinCycleObjective
from tcae.training.captured_step import CapturedStep
from tcae.training.device import Compiled, configure_passes, data_parallel
from tcae.training.optimizer import OPTIMIZER_PRESETS, Optimizer
from tcae.training.step import Outcome, TrainingStep

SIZE = 64
TOTAL = 1_000_000  # steps; in the middle all losses have their full weight
Take = Callable[[int], Outcome]


def pairs(count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return sources and targets (count, 3, SIZE, SIZE) uint8, the same pictures with bends."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(count, 3, 9, 9, generator=generator)
    source = F.interpolate(coarse, SIZE, mode="bicubic").clamp(0, 1)
    moves = F.interpolate(torch.randn(count, 2, 4, 4, generator=generator), SIZE, mode="bicubic")
    grid = F.affine_grid(torch.eye(2, 3).expand(count, 2, 3), source.shape, align_corners=False)
    moved = grid + 0.06 * moves.movedim(1, -1)
    target = F.grid_sample(source, moved, padding_mode="border", align_corners=False)
    source, target = ((255 * it).to(device, torch.uint8) for it in (source, target))
    return source, target


def training(
    preset: str,
    count: int,
    device: torch.device,
    precision: str = "auto",
    compiled: Compiled = "none",
) -> tuple[TwinCycle, Take]:
    """Return a model, the same at each call, and a function that takes one step of a preset.

    Args:
        preset: "default", "paper" or "official".
        count: The number of pairs in the batch.
        device: Where to compute.
        precision: See `OptimizerConfig.precision`.
        compiled: What runs as CUDA graphs; see `--compile`.

    Raises:
        ValueError: The whole step is to, and there is no GPU.
    """
    torch.manual_seed(0)
    model = TwinCycle(Encoder(MODEL_PRESETS[preset], SIZE))
    model.to(device, memory_format=torch.channels_last)
    configure_passes(model, compiled == "passes", recomputed=False)
    objective = TwinCycleObjective(model, OBJECTIVE_PRESETS[preset])
    config = replace(OPTIMIZER_PRESETS[preset], precision=precision, warmup_steps=0)
    optimizer = Optimizer(objective.parameters(), config)
    forward = data_parallel(objective, device)
    plain = TrainingStep(objective, forward, Curriculum(CURRICULUM_PRESETS[preset]), optimizer)
    step = CapturedStep(plain, device) if compiled == "step" else plain
    source, target = pairs(count, device)
    batch = {"source": source, "target": target, "failures": torch.zeros(())}
    batch["tracks"] = torch.arange(count, device=device)
    return model, lambda number: step(batch, TOTAL // 2 + number, TOTAL)
