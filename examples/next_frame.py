"""Warps one frame of a video onto the next with a given flow.

The flow says, for every pixel of the *next* frame, how far away its origin lies in this frame.
Then ``tcae_ops.warp(frame, flow)`` is the next frame, as in a video codec or an interpolator.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from pictures import flow_colours, grid, save_sheet, scene
from torch import Tensor

import tcae_ops


def camera_motion(height: int, width: int) -> Tensor:
    """Backward flow (1, 2, H, W): the camera turns and moves on, and something bulges."""
    centred = grid(height, width) - torch.tensor([width / 2, height / 2])[:, None, None]
    turned = centred * 0.97 + 0.05 * torch.stack([-centred[:, 1], centred[:, 0]], 1)
    bulge = torch.exp(-((centred[:, :1] + 50) ** 2 + centred[:, 1:] ** 2) / 1800)
    return turned - centred - 0.25 * bulge * (centred + torch.tensor([50.0, 0.0])[:, None, None])


def main() -> None:
    """Render two frames, warp the first, and say how much of the difference is explained."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("next_frame.png"), help="the picture")
    out = parser.parse_args().out

    positions = grid(200, 280)
    flow = camera_motion(200, 280)
    frame, following = scene(positions), scene(positions + flow)
    warped = tcae_ops.warp(frame, flow)

    # Where the flow points outside the frame nothing can be known.
    origin = positions + flow
    seen = (origin >= 0) & (origin <= torch.tensor([279.0, 199.0])[:, None, None])
    seen = seen.all(1, keepdim=True)
    before, after = ((f - following).abs().mean(1, keepdim=True) * seen for f in (frame, warped))
    errors = [float(error.sum() / seen.sum()) for error in (before, after)]
    save_sheet(
        out,
        [
            [
                ("frame", frame),
                ("next frame", following),
                ("frame, warped by the flow", warped),
            ],
            [
                ("backward flow (hue: direction)", flow_colours(flow, 12.0)),
                (f"|frame - next| x 3, mean {errors[0]:.4f}", 3 * before),
                (f"|warped - next| x 3, mean {errors[1]:.4f}", 3 * after),
            ],
        ],
    )
    print(f"mean error {errors[0]:.4f} before, {errors[1]:.4f} after the warp; see {out}")


if __name__ == "__main__":
    main()
