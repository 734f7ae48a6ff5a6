"""Contrast: which frame of its track is this? The AU embedding must tell it in any pose.

The embedding distances of Eq. (5), (6) ask for embeddings that do not change where only the other
cause of motion did. A constant obeys them best. Asked as a question with wrong answers beside the
right one, the same wish cannot be met by knowing nothing. Frames of one track share person, light
and room, and here they come in the pose of another frame: what is left to tell them apart is the
facial action.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from tcae.distributed import ranks
from tcae.models.encoder import Embeddings
from tcae.models.precision import wide
from tcae.models.twin_cycle import TwinCycle
from tcae.objectives.augmentation import augment
from tcae.objectives.info_nce import info_nce
from tcae_ops import warp

_POSE_NOISE = 0.5  # of the standard deviation of poses: other poses than the batch has


def contrast(
    model: TwinCycle,
    embed: Callable[[Tensor], Embeddings],
    images: Tensor,
    embeddings: Sequence[Embeddings],
    tracks: Tensor,
    share: float | Tensor,
) -> Tensor:
    """Return how hard it is to tell both frames of each pair from the others of their track.

    Each frame is moved to the other frame's pose and augmented. No gradient goes through that.

    Args:
        model: Gives the pose flow.
        embed: Embeds images.
        images: (2N, 3, S, S) in [0, 1]: all sources, then all targets.
        embeddings: Of the sources and of the targets, N rows each.
        tracks: (N,) the track of each pair.
        share: How far frames go to the other pose: 0 = not at all, 1 = all the way. A number or
            ().

    Returns:
        (N,) cross-entropies, the mean of both frames.
    """
    au, pose = (torch.cat(parts) for parts in zip(*embeddings, strict=True))
    with torch.no_grad():
        pose = wide(pose)
        others = pose.roll(len(tracks), 0)
        like: dict[str, Any] = {"dtype": pose.dtype, "device": pose.device}
        noise = ranks.draw(torch.randn, len(pose), pose.shape[1], **like)
        others = others + _POSE_NOISE * ranks.gather(pose).std(0) * noise
        flow = model.pose_motion(pose, torch.lerp(pose, others, share)).flow
        views = augment(warp(images, flow, units="normalized"))
    losses = info_nce(embed(views).au, au, tracks.repeat(2))
    return losses.unflatten(0, (2, -1)).mean(0)
