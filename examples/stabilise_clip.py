"""Stabilises a shaky clip: finds each frame's shift and turn by gradient descent, and undoes them.

All frames are registered to the first one at once, as one batch. A rigid motion is a flow as any
other, so ``tcae_ops.warp`` both finds it and undoes it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from pictures import grid, save_sheet, scene
from torch import Tensor

import tcae_ops

HEIGHT, WIDTH, FRAMES = 96, 144, 16


def rigid_flow(motion: Tensor) -> Tensor:
    """Return the flow (N, 2, H, W) of motions (N, 3): pixels right and down, radians of a turn."""
    shift, angle = motion[:, :2, None, None], motion[:, 2, None, None]
    centred = grid(HEIGHT, WIDTH) - torch.tensor([WIDTH / 2, HEIGHT / 2])[:, None, None]
    x, y = centred.unbind(1)
    turned = torch.stack([x * angle.cos() - y * angle.sin(), x * angle.sin() + y * angle.cos()], 1)
    return turned - centred + shift


def shaky_clip() -> Tensor:
    """Film a still scene with a hand that trembles: (N, 3, H, W)."""
    generator = torch.Generator().manual_seed(3)
    tremble = torch.randn(FRAMES, 3, generator=generator) * torch.tensor([3.0, 3.0, 0.02])
    drift = torch.linspace(0, 1, FRAMES)[:, None] * torch.tensor([6.0, -4.0, 0.04])
    motion = tremble + drift
    return scene(grid(HEIGHT, WIDTH) + 40 + rigid_flow(motion - motion[:1]))


def find_motion(clip: Tensor, steps: int = 70) -> Tensor:
    """Estimate the motions (N, 3) that carry each frame onto the first."""
    unit = torch.tensor([1.0, 1.0, 0.01])  # one step of each moves pixels about as far
    motion = torch.zeros(len(clip), 3, requires_grad=True)
    for kernel in (13, 5, 1):
        blurred = F.avg_pool2d(clip, kernel, 1, kernel // 2, count_include_pad=False)
        optimizer = torch.optim.Adam([motion], lr=0.3)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0.05, steps)
        inner = blurred[:1, :, 16:-16, 16:-16]
        for _ in range(steps):
            steady = tcae_ops.warp(blurred, rigid_flow(motion * unit))
            loss = (steady[..., 16:-16, 16:-16] - inner).abs().mean((1, 2, 3)).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return motion.detach() * unit


def main() -> None:
    """Stabilises a clip and says how much of the trembling is left."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("stabilise_clip.png"), help="the picture")
    out = parser.parse_args().out

    clip = shaky_clip()
    steady = tcae_ops.warp(clip, rigid_flow(find_motion(clip)))

    inner = (..., slice(16, -16), slice(16, -16))
    errors = [float((c - c[:1])[inner].abs().mean()) for c in (clip, steady)]
    # One row of the picture in every frame, below each other: straight lines stand still.
    rows = [
        c[:, :, HEIGHT // 2].permute(1, 0, 2)[None].repeat_interleave(6, 2) for c in (clip, steady)
    ]
    save_sheet(
        out,
        [
            [
                ("mean of the shaky frames", clip.mean(0)[None]),
                ("mean of the steady frames", steady.mean(0)[None]),
            ],
            [("middle row over time, shaky", rows[0]), ("middle row over time, steady", rows[1])],
        ],
        zoom=2,
    )
    print(f"mean error to the first frame {errors[0]:.4f} before, {errors[1]:.4f} after; see {out}")


if __name__ == "__main__":
    main()
