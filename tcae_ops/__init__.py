"""Differentiable warping of images by displacement fields, fused with blending and an L1 loss.

>>> import torch, tcae_ops
>>> image, flow = torch.rand(1, 3, 8, 8), torch.zeros(1, 2, 8, 8)
>>> torch.equal(tcae_ops.warp(image, flow), image)
True
"""

from __future__ import annotations

from tcae_ops.backends import Backend, backend
from tcae_ops.grids import flow_from_grid, grid_from_flow
from tcae_ops.losses import blend_warp_l1, warp_l1
from tcae_ops.request import Padding, Units
from tcae_ops.version import VERSION
from tcae_ops.warp import blend_warp, warp

__version__ = VERSION
__all__ = [
    "Backend",
    "Padding",
    "Units",
    "__version__",
    "backend",
    "blend_warp",
    "blend_warp_l1",
    "flow_from_grid",
    "grid_from_flow",
    "warp",
    "warp_l1",
]
