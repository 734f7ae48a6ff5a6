"""What the examples share: a scene to look at, and a sheet of captioned pictures."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor


def grid(height: int, width: int) -> Tensor:
    """Return the position (x, y) of every pixel: (1, 2, H, W)."""
    y, x = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    return torch.stack([x, y])[None]


def scene(positions: Tensor, seed: int = 0) -> Tensor:
    """Draw coloured pebbles (N, 3, H, W) as they look at positions (N, 2, H, W), in pixels.

    It is known between and beyond pixels as well, so a moved camera is rendered, not resampled.
    """
    generator = torch.Generator().manual_seed(seed)
    x, y = positions[:, :1], positions[:, 1:]
    sky = torch.stack([0.55 + 0.2 * torch.sin(x / 60), 0.6 + 0.1 * torch.cos(y / 45)])
    picture = torch.cat([sky[0], sky[1], 0.75 - 0.1 * torch.sin((x + y) / 70)], 1)
    centres = torch.rand(160, 2, generator=generator) * torch.tensor([440.0, 360.0]) - 60
    radii = 5 + 22 * torch.rand(160, generator=generator) ** 2
    colours = 0.15 + 0.8 * torch.rand(160, 3, 1, 1, generator=generator)
    for (cx, cy), radius, colour in zip(centres.tolist(), radii.tolist(), colours, strict=True):
        distance = ((x - cx) ** 2 + (y - cy) ** 2).sqrt()
        cover = ((radius - distance) / 2 + 0.5).clamp(0, 1)  # two pixels of soft edge
        light = 0.85 + 0.35 * ((cx - x) + (cy - y)) / (2 * radius)
        picture = torch.lerp(picture, (colour * light).clamp(0, 1), cover)
    return picture


def flow_colours(flow: Tensor, most: float) -> Tensor:
    """Show a flow (1, 2, H, W) in colours (1, 3, H, W): direction is hue, `most` pixels full."""
    dx, dy = flow[0].numpy()
    hue = np.degrees(np.arctan2(dy, dx)) % 360
    strength = np.clip(np.hypot(dx, dy) / most, 0, 1)
    hsv = np.stack([hue, strength, np.ones_like(hue)], -1).astype(np.float32)
    return torch.from_numpy(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)).permute(2, 0, 1)[None]


def save_sheet(path: Path, rows: list[list[tuple[str, Tensor]]], zoom: int = 1) -> None:
    """Write rows of captioned pictures (1, 3 or 1, H, W) in [0, 1] to an image file.

    Raises:
        SystemExit: The file cannot be written; the message says so.
    """
    sheet = np.concatenate([np.concatenate([_panel(*it, zoom) for it in row], 1) for row in rows])
    try:
        written = cv2.imwrite(str(path), sheet)
    except cv2.error:
        written = False
    if not written:
        raise SystemExit(f"{path} cannot be written; its folder must exist and it must end in .png")


def _panel(caption: str, picture: Tensor, zoom: int) -> np.ndarray:
    rgb = (picture[0].expand(3, -1, -1).permute(1, 2, 0) * 255).round().clamp(0, 255)
    pixels = rgb.byte().numpy()[..., ::-1].repeat(zoom, 0).repeat(zoom, 1)
    panel = np.full((pixels.shape[0] + 30, pixels.shape[1] + 8, 3), 255, np.uint8)
    panel[26:-4, 4:-4] = pixels
    font, colour = cv2.FONT_HERSHEY_SIMPLEX, (40, 40, 40)
    cv2.putText(panel, caption, (5, 18), font, 0.45, colour, 1, cv2.LINE_AA)
    return panel
