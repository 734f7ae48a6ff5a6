"""The end of training: the decorrelation fitted to the finished encoder."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tcae.data.mixture import Pairs
from tcae.distributed import team
from tcae.models.twin_cycle import TwinCycle

_FACES = 2048  # with twice as many, the R^2 of a probe for the pose is .03 lower


@torch.no_grad()
def refit_decorrelation(model: TwinCycle, pairs: Pairs, steps: int) -> None:
    """Fit the decorrelation to the embeddings of training faces by the finished encoder.

    The running moments from training no longer fit: docs/recipe.md, "What it is", 5.

    Args:
        model: The trained model. It is in training mode before and after.
        pairs: Training pairs of this process. It embeds those of the steps after the last.
        steps: How many steps the model was trained for. At most as many batches are embedded.
    """
    decorrelation = model.encoder.decorrelation
    if decorrelation is None:
        return
    team.broadcast_buffers(model)
    device = decorrelation.mean.device
    batches = math.ceil(_FACES / (2 * pairs.batch_size * pairs.world_size))
    embedded: list[tuple[Tensor, Tensor]] = []
    model.eval()
    for step in range(steps, steps + min(batches, steps)):
        batch = pairs[step]
        for images in (batch["source"], batch["target"]):
            embedded.append(model.encoder.correlated(images.to(device)))
    au, pose = (torch.cat(parts) for parts in zip(*embedded, strict=True))
    decorrelation.refit(au, pose)
    model.train()
