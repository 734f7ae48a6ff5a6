"""Changes of labelled faces that leave their actions as they are, strong ones."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad

from tcae.objectives.augmentation import augment

# Standard deviations, of logarithms: the exponent of brightness, and the light across a face.
_GAMMA, _LIGHT = 0.25, 0.25
_GREY, _COVERED = 0.15, 0.3  # shares of the images
_LEAST, _MOST = 0.125, 0.33  # sides of what covers a face, as shares of its side


def strongly_augment(images: Tensor) -> Tensor:
    """Blur, move, recolour, light and cover images at random, and add noise.

    A network that is trained on rendered faces meets what they do not show: other cameras, light
    from aside, hair and hands.

    Args:
        images: (N, 3, S, S) in [0, 1].

    Returns:
        (N, 3, S, S), not clamped to [0, 1].
    """
    blurred = avg_pool2d(pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    strength = torch.rand(len(images), 1, 1, 1).to(images)
    moved = augment(images.lerp(blurred, strength), of_pair=1)
    return _covered(_greyed(_lit(moved)))


def _lit(images: Tensor) -> Tensor:
    """Change the contrast of dark and bright, and light half of the faces unevenly."""
    count, side = len(images), images.shape[-1]
    gamma = (_GAMMA * torch.randn(count, 1, 1, 1)).exp()
    uneven = _LIGHT * torch.randn(count, 1, 3, 3) * (torch.rand(count, 1, 1, 1) < 0.5)
    light = interpolate(uneven, size=(side, side), mode="bicubic", align_corners=True).exp()
    return images.clamp(1e-3, 1) ** gamma.to(images) * light.to(images)


def _greyed(images: Tensor) -> Tensor:
    grey = (torch.rand(len(images), 1, 1, 1) < _GREY).to(images)
    return images.lerp(images.mean(1, keepdim=True).expand_as(images), grey)


def _covered(images: Tensor) -> Tensor:
    """Lay a rectangle of one colour over some of the images."""
    count, side = len(images), images.shape[-1]
    place = torch.linspace(0, 1, side)
    centre, half = (
        torch.rand(2, count, 1),
        (_LEAST + (_MOST - _LEAST) * torch.rand(2, count, 1)) / 2,
    )
    row, column = ((place - centre).abs() < half).float()
    covers = row[:, :, None] * column[:, None] * (torch.rand(count, 1, 1) < _COVERED)
    colour = torch.rand(count, 3, 1, 1).to(images)
    return images.lerp(colour.expand_as(images), covers[:, None].to(images))
