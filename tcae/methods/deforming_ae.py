"""DeformAE: a texture in a common shape, deformed (Shu et al., ECCV 2018, Deforming Autoencoders).

One image is encoded into a texture code and a warp code. The texture is drawn as if all faces had
one shape; a sampling grid of positive steps, so that nothing folds over, brings it into this one's.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from tcae.methods.training import self_supervised
from tcae.models.encoder import unit_range
from tcae.models.model_config import check_image_size
from tcae.training.optimizer import OptimizerConfig
from tcae.training.simple_loop import Recipe
from tcae_ops import warp_l1

_STEP, _FIRST = 5.0, -1.2  # largest step of the grid is 5 / side; where it starts


@dataclass(frozen=True)
class DeformingConfig:
    """The published architecture, and the paper's length of the latent vector."""

    base_filters: int = 32
    """Channels of the encoder's first level, up to 8 times as many deeper down."""
    latent_size: int = 512
    """Length of the latent vector z, which is the embedding."""
    texture_size: int = 16
    """Length of the texture code."""
    warp_size: int = 128
    """Length of the warp code."""
    smoothness: float = 1e-6
    """Weight of the total variation of the residual warp, summed over an image."""
    bias: float = 1e-2
    """Weight of the mean squared residual warp, averaged over the batch before it is squared."""


class DeformingAutoencoder(nn.Module):
    """Encoder, texture decoder and warp decoder.

    The original is for 64x64 images: four stride-2 convolutions lead to a 4x4 map. Other sizes
    have more of them, of 256 channels, so that the last map stays 4x4.

    Args:
        config: the architecture.
        image_size: side of the images, a power of two from 32.
    """

    def __init__(self, config: DeformingConfig, image_size: int) -> None:
        super().__init__()
        check_image_size(image_size)
        self.config, self.image_size = config, image_size
        levels = image_size.bit_length() - 3
        widths = [config.base_filters * min(2**level, 8) for level in range(levels)]
        layers: list[nn.Module] = [nn.Conv2d(3, widths[0], 4, stride=2, padding=1, bias=False)]
        for inputs, outputs in pairwise(widths):
            down = nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=False)
            layers += [nn.LeakyReLU(0.2, inplace=True), down, nn.BatchNorm2d(outputs)]
        latent = nn.Conv2d(widths[-1], config.latent_size, 4)
        layers += [nn.LeakyReLU(0.2, inplace=True), latent, nn.Flatten(), nn.Sigmoid()]
        self.encoder = nn.Sequential(*layers)
        self.texture_code = _code(config.latent_size, config.texture_size)
        self.warp_code = _code(config.latent_size, config.warp_size)
        self.texture_decoder = nn.Sequential(
            *_decoder(config.texture_size, widths, 3), nn.Hardtanh(0.0, 1.0)
        )
        self.warp_decoder = nn.Sequential(*_decoder(config.warp_size, widths, 2), nn.Sigmoid())

    def embed(self, images: Tensor) -> Tensor:
        """Latent vectors (N, 512) of images (N, 3, S, S), uint8 or in [0, 1]."""
        latent: Tensor = self.encoder(unit_range(images))
        return latent

    def texture_and_flow(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Texture (N, 3, S, S) and the residual warp (N, 2, S, S), normalised units, of it.

        The image is the texture, sampled at p + residual(p).
        """
        texture = self.texture_decoder(self.texture_code(latent))
        steps = self.warp_decoder(self.warp_code(latent)) * (_STEP / self.image_size)
        x, y = steps[:, 0].cumsum(2), steps[:, 1].cumsum(1)
        grid = (torch.stack([x, y], 1) + _FIRST).clamp(-1, 1)
        at = torch.linspace(-1, 1, self.image_size, dtype=grid.dtype, device=grid.device)
        return texture, grid - torch.stack(torch.meshgrid(at, at, indexing="xy"))

    def losses(self, source: Tensor, target: Tensor) -> Tensor:
        """(N,) losses of the sources; the targets are not needed to learn from single images."""
        source = unit_range(source)
        texture, residual = self.texture_and_flow(self.embed(source))
        rough = sum(residual.diff(dim=d).abs().sum((1, 2, 3)) for d in (2, 3))
        shift = residual.mean(0).square().mean()
        error = warp_l1(texture, residual, source, units="normalized")
        return error + self.config.smoothness * rough + self.config.bias * shift


def _code(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, outputs), nn.Sigmoid(), nn.Unflatten(1, (-1, 1, 1)))


def _decoder(inputs: int, widths: list[int], channels: int) -> list[nn.Module]:
    """Transposed convolutions: to 4x4, then twice the side each, then one at full size."""
    layers = [nn.ConvTranspose2d(inputs, widths[-1], 4, bias=False)]
    layers += [
        nn.ConvTranspose2d(wide, narrow, 4, stride=2, padding=1, bias=False)
        for wide, narrow in zip(widths[::-1], [*widths[-2::-1], widths[0]], strict=True)
    ]
    normed = [
        part
        for layer in layers
        for part in (layer, nn.BatchNorm2d(layer.out_channels), nn.LeakyReLU(0.2, inplace=True))
    ]
    return [*normed, nn.ConvTranspose2d(widths[0], channels, 3, padding=1)]


DEFORMING_AE = self_supervised(
    "deforming_ae",
    "DeformAE",
    lambda image_size: DeformingAutoencoder(DeformingConfig(), image_size),
    recipe=Recipe(
        steps=82_000,
        batch_size=64,
        optimizer=OptimizerConfig(
            learning_rate=2e-4,
            betas=(0.5, 0.999),
            weight_decay=0.0,
            warmup_steps=0,
            schedule="constant",
            clip_norm=0.0,
        ),
    ),
)
