"""The reconstruction, Eq. (2): the source, moved by both flows, is the target."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from tcae.models.twin_cycle import Motion
from tcae_ops import blend_warp, blend_warp_l1, warp, warp_l1


def reconstruct(source: Tensor, au_changed: Tensor | None, au: Motion, pose: Motion) -> Tensor:
    """Return the reconstructions (N, 3, S, S).

    Args:
        source: (N, 3, S, S) in [0, 1].
        au_changed: (N, 3, S, S) the source after the AU flow, to be moved by the pose flow. None:
            the source is moved by both flows at once, blended by their masks.
        au: The AU flow and its mask's logit.
        pose: The pose flow and its mask's logit.
    """
    if au_changed is not None:
        return warp(au_changed, pose.flow, units="normalized")
    return blend_warp(source, *_both(au, pose), units="normalized")


def reconstruction(
    source: Tensor,
    au_changed: Tensor | None,
    au: Motion,
    pose: Motion,
    target: Tensor,
    return_image: bool,
) -> tuple[Tensor, Tensor | None]:
    """Return the L1 (N,) of each reconstruction, and its image (N, 3, S, S) if asked for.

    Args:
        source: See `reconstruct`.
        au_changed: See `reconstruct`.
        au: See `reconstruct`.
        pose: See `reconstruct`.
        target: (N, 3, S, S) in [0, 1].
        return_image: Whether the image is needed; it takes memory and time.
    """
    options: dict[str, Any] = {"units": "normalized", "return_warped": return_image}
    found = (
        warp_l1(au_changed, pose.flow, target, **options)
        if au_changed is not None
        else blend_warp_l1(source, *_both(au, pose), target, **options)
    )
    return found if return_image else (found, None)


def _both(au: Motion, pose: Motion) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return both flows, and the logits of both masks."""
    return (au.flow, pose.flow), (au.logit, pose.logit)
