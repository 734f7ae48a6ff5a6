"""Registers two images without supervision, by gradient descent on a flow.

The flow is a coarse grid of control points, drawn out to the image's size. It is found from coarse
to fine: first on blurred images, which have wide valleys, then on sharp ones.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from pictures import flow_colours, grid, save_sheet, scene
from torch import Tensor

import tcae_ops


def hidden_motion(height: int, width: int) -> Tensor:
    """Make the displacement that is to be found again, a few pixels everywhere: (1, 2, H, W)."""
    x, y = grid(height, width).unbind(1)
    dx = 5 * torch.sin(y / 30) + 2 * torch.cos(x / 40)
    dy = 5 * torch.cos(x / 35 + 0.5) - 2 * torch.sin(y / 25)
    return torch.stack([dx, dy], 1)


def blur(image: Tensor, factor: int) -> Tensor:
    """Remove from the image what is finer than `factor` pixels."""
    height, width = image.shape[2:]
    small = F.interpolate(image, (height // factor, width // factor), mode="area")
    return F.interpolate(small, (height, width), mode="bicubic", align_corners=False)


def register(moving: Tensor, fixed: Tensor, steps: int = 70) -> Tensor:
    """Find the flow (1, 2, H, W) with which ``tcae_ops.warp(moving, flow)`` looks like `fixed`."""
    size = fixed.shape[2:]
    points = torch.zeros(1, 2, 3, 4)
    for factor, spacing in ((8, 32), (4, 20), (1, 14)):
        blurred = [blur(image, factor) for image in (moving, fixed)]
        shape = size[0] // spacing, size[1] // spacing
        points = F.interpolate(points, shape, mode="bicubic", align_corners=True).requires_grad_()
        optimizer = torch.optim.Adam([points], lr=0.3)
        for _ in range(steps):
            flow = F.interpolate(points, size, mode="bicubic", align_corners=True)
            loss = (tcae_ops.warp(blurred[0], flow) - blurred[1]).abs().mean()
            stretch = sum(points.diff(dim=dim).square().mean() for dim in (2, 3))
            optimizer.zero_grad()
            (loss + 1e-4 * stretch).backward()
            optimizer.step()
        points = points.detach()
    return F.interpolate(points, size, mode="bicubic", align_corners=True)


def main() -> None:
    """Register two views of one scene and say how much of the difference is left."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("register_images.png"), help="the picture")
    out = parser.parse_args().out

    positions, truth = grid(160, 240), hidden_motion(160, 240)
    moving, fixed = scene(positions), scene(positions + truth)
    flow = register(moving, fixed)
    registered = tcae_ops.warp(moving, flow)

    before, after = ((f - fixed).abs().mean(1, keepdim=True) for f in (moving, registered))
    off = (flow - truth).norm(dim=1).median()
    tiles = (positions.div(20, rounding_mode="floor").sum(1, keepdim=True) % 2).bool()
    save_sheet(
        out,
        [
            [
                ("moving image", moving),
                ("fixed image", fixed),
                (f"|moving - fixed| x 3, mean {before.mean():.4f}", 3 * before),
                ("the hidden flow", flow_colours(truth, 9.0)),
            ],
            [
                ("moving, registered", registered),
                ("registered and fixed in tiles", torch.where(tiles, registered, fixed)),
                (f"|registered - fixed| x 3, mean {after.mean():.4f}", 3 * after),
                (f"found flow, median {off:.2f} px off", flow_colours(flow, 9.0)),
            ],
        ],
    )
    print(
        f"mean error {before.mean():.4f} before, {after.mean():.4f} after; "
        f"flow off by {off:.2f} px (median); see {out}"
    )


if __name__ == "__main__":
    main()
