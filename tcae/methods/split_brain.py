"""SplitBrain: one half predicts colour, the other lightness (Zhang, Isola, Efros, CVPR 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from tcae.methods.alexnet_trunk import AlexNetTrunk
from tcae.methods.training import self_supervised
from tcae.models.encoder import unit_range
from tcae.models.model_config import check_image_size
from tcae.training.optimizer import OptimizerConfig
from tcae.training.simple_loop import Recipe

_COLOURS, _GREYS = 313, 100  # classes of colour and of lightness, as published
_POOLED = 2  # side that the third layer's map is averaged to for the embedding; ours
_GRID = 10.0  # distance of neighbouring colours, in the units of a and b

# From sRGB (IEC 61966-2-1) to XYZ relative to the white D65. Each row sums to 1.
_TO_XYZ = (
    (0.4124564 / 0.95047, 0.3575761 / 0.95047, 0.1804375 / 0.95047),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339 / 1.08883, 0.1191920 / 1.08883, 0.9503041 / 1.08883),
)


class SplitBrain(nn.Module):
    """Two AlexNets of half width: one predicts colour from lightness, the other the reverse.

    Args:
        image_size: Side of the images in pixels, a multiple of 16 from 32.
        hidden: Channels of the two layers between AlexNet's convolutions and the classes. The
            default is the published one.
    """

    colours: Tensor

    def __init__(self, image_size: int, hidden: int = 2048) -> None:
        super().__init__()
        check_image_size(image_size)
        self.lightness, self.colour = AlexNetTrunk(1, 0.5), AlexNetTrunk(2, 0.5)
        self.to_colour = _head(self.lightness.widths[-1], hidden, _COLOURS)
        self.to_lightness = _head(self.colour.widths[-1], hidden, _GREYS)
        self.register_buffer("colours", colour_classes(_COLOURS))

    def embed(self, images: Tensor) -> Tensor:
        """Compute the pooled third layers of both nets, (N, 384 * 4), of images (N, 3, S, S)."""
        light, ab = _inputs(rgb_to_lab(unit_range(images)))
        maps = torch.cat([self.lightness.conv3(light), self.colour.conv3(ab)], 1)
        return adaptive_avg_pool2d(maps, _POOLED).flatten(1)

    def losses(self, source: Tensor, target: Tensor) -> Tensor:
        """Compute the cross entropies (N,) of the sources, as means over positions."""
        lab = rgb_to_lab(unit_range(source))
        light, ab = _inputs(lab)
        colour = self.to_colour(self.lightness(light))
        grey = self.to_lightness(self.colour(ab))
        small = adaptive_avg_pool2d(lab, colour.shape[-1])
        return sum(  # type: ignore[return-value]
            _cross_entropy(logits, classes).mean((1, 2))
            for logits, classes in ((colour, self._colour(small)), (grey, self._grey(small)))
        )

    def _colour(self, lab: Tensor) -> Tensor:
        """Find the nearest classes of colour, (N, h, w)."""
        ab = lab[:, 1:].permute(0, 2, 3, 1)
        return torch.cdist(ab.flatten(0, 2), self.colours).argmin(1).view(ab.shape[:3])

    def _grey(self, lab: Tensor) -> Tensor:
        return (lab[:, 0] * (_GREYS / 100)).long().clamp(0, _GREYS - 1)


def _cross_entropy(logits: Tensor, classes: Tensor) -> Tensor:
    """Return cross entropies (N, H, W) of logits (N, C, H, W), as torch's but deterministic."""
    return logits.logsumexp(1) - logits.gather(1, classes[:, None])[:, 0]


def rgb_to_lab(images: Tensor) -> Tensor:
    """Convert sRGB images (N, 3, H, W) in [0, 1] to CIE L*a*b* (white D65), L in [0, 100]."""
    linear = torch.where(images > 0.04045, ((images + 0.055) / 1.055) ** 2.4, images / 12.92)
    red, green, blue = linear.unbind(1)
    xyz = torch.stack([r * red + g * green + b * blue for r, g, b in _TO_XYZ], 1)
    knee = 6 / 29
    root = torch.where(xyz > knee**3, xyz.clamp_min(1e-9) ** (1 / 3), xyz / (3 * knee**2) + 4 / 29)
    x, y, z = root.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def colour_classes(count: int) -> Tensor:
    """Return the points (count, 2) of an ab grid of spacing 10 that are nearest to sRGB colours.

    261 of them have a colour in their cell. More points come from the rim around these.
    """
    level = torch.linspace(0, 1, 33)
    cube = torch.stack(torch.meshgrid(level, level, level, indexing="ij")).view(1, 3, 33, -1)
    colours = rgb_to_lab(cube)[0, 1:].flatten(1).T
    axis = torch.arange(-13, 14) * _GRID
    grid = torch.cartesian_prod(axis, axis)
    distance = torch.cdist(grid, colours).amin(1)
    return grid[distance.argsort(stable=True)[:count]]


def _inputs(lab: Tensor) -> tuple[Tensor, Tensor]:
    """Split into lightness (N, 1, S, S) and colour (N, 2, S, S), both about in [-1, 1]."""
    return lab[:, :1] / 50 - 1, lab[:, 1:] / 110


def _head(inputs: int, hidden: int, classes: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ZeroPad2d((2, 3, 2, 3)),
        nn.Conv2d(inputs, hidden, 6, bias=False),
        nn.BatchNorm2d(hidden),
        nn.ReLU(inplace=True),
        nn.Conv2d(hidden, hidden, 1, bias=False),
        nn.BatchNorm2d(hidden),
        nn.ReLU(inplace=True),
        nn.Conv2d(hidden, classes, 1),
    )


SPLIT_BRAIN = self_supervised(
    "split_brain",
    "SplitBrain",
    SplitBrain,
    # Ours, because its authors' schedule is for ImageNet.
    recipe=Recipe(steps=82_000, batch_size=64, optimizer=OptimizerConfig(learning_rate=1e-3)),
)
