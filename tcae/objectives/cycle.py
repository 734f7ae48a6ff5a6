"""The cycles, Eq. (3), (4): a face that was changed, then changed back, is the source again."""

from __future__ import annotations

from torch import Tensor

from tcae_ops import warp_l1


def cycle(changed: Tensor, flow: Tensor, source: Tensor, detach: bool) -> Tensor:
    """Return the L1 between each source and its changed face, warped back.

    Args:
        changed: (N, 3, S, S) the source after one of the two flows.
        flow: (N, 2, S, S) the way back, in normalised units.
        source: (N, 3, S, S) in [0, 1].
        detach: Stop the gradient at the pixels of `changed` (released code).

    Returns:
        (N,), fp32 (fp64 for fp64).
    """
    if detach:
        changed = changed.detach()
    return warp_l1(changed, flow, source, units="normalized")
