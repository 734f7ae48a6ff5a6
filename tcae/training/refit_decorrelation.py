"""What training ends with: statistics of the finished encoder."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tcae.data.pairs import PairBatches
from tcae.distributed import team
from tcae.models.twin_cycle import TwinCycle

_FACES = 2048  # with twice as many a probe reads the pose with an R^2 that is .03 less


@torch.no_grad()
def refit_decorrelation(model: TwinCycle, pairs: PairBatches, steps: int) -> None:
    """Decorrelate by what the finished encoder, in eval mode, makes of training faces.

    The moments that followed training no longer fit: docs/recipe.md, "What it is", 5.

    Args:
        model: Trained; left in training mode.
        pairs: Training pairs; those of the next steps are embedded, each process's own.
        steps: How many the model was trained for. No more batches than these are taken.
    """
    decorrelation = model.encoder.decorrelation
    if decorrelation is None:
        return
    team.share_buffers(model)
    device = decorrelation.mean.device
    wanted = math.ceil(_FACES / (2 * pairs.batch_size * pairs.world_size))
    embedded: list[tuple[Tensor, Tensor]] = []
    model.eval()
    for step in range(steps, steps + min(wanted, steps)):
        batch = pairs[step]
        for images in (batch["source"], batch["target"]):
            embedded.append(model.encoder.correlated(images.to(device)))
    au, pose = (torch.cat(parts) for parts in zip(*embedded, strict=True))
    decorrelation.refit(au, pose)
    model.train()
