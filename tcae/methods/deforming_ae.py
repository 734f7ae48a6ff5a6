"""DeformAE: a texture in a common shape, deformed (Shu et al., ECCV 2018, Deforming Autoencoders).

An image is encoded into a texture code and a warp code. The texture is drawn as if all faces had
the same shape. A sampling grid then gives it the shape of this face. The steps of the grid are
positive, so nothing folds over.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from tcae.methods.training import self_supervised
from tcae.models.encoder import unit_range
from tcae.models.model_config import check_image_size
from tcae.models.sides import HalvingConv2d, cropped, halved
from tcae.training.optimizer import OptimizerConfig
from tcae.training.simple_loop import Recipe
from tcae_ops import warp_l1

_STEP, _FIRST = 5.0, -1.2  # largest step of the grid times the side; where the grid starts
_TEXTURE_SIZE, _WARP_SIZE = 16, 128  # lengths of the two codes
_LAST = 4  # largest side of the last map


class DeformingAutoencoder(nn.Module):
    """Encoder, texture decoder and warp decoder. The defaults are the published architecture.

    The original is for 64x64 images: four stride-2 convolutions lead to a 4x4 map. For larger
    images there are more of them, with 256 channels, so that the last map is 4x4 or 3x3.

    Args:
        image_size: Side of the images in pixels, a multiple of 16 from 32.
        base_filters: Channels of the encoder's first level. Deeper levels have up to 8 times as
            many.
        latent_size: Length of the latent vector z, which is the embedding.
        smoothness: Weight of the total variation of the residual warp, summed over an image.
        bias: Weight of the mean squared residual warp, averaged over the batch before it is
            squared.
    """

    def __init__(
        self,
        image_size: int,
        base_filters: int = 32,
        latent_size: int = 512,
        smoothness: float = 1e-6,
        bias: float = 1e-2,
    ) -> None:
        super().__init__()
        check_image_size(image_size)
        self.image_size, self.smoothness, self.bias = image_size, smoothness, bias
        sides = halved(image_size, _LAST)
        widths = [base_filters * min(2**level, 8) for level in range(len(sides) - 1)]
        layers: list[nn.Module] = [HalvingConv2d(3, widths[0], bias=False)]
        for inputs, outputs in pairwise(widths):
            down = HalvingConv2d(inputs, outputs, bias=False)
            layers += [nn.LeakyReLU(0.2, inplace=True), down, nn.BatchNorm2d(outputs)]
        latent = nn.Conv2d(widths[-1], latent_size, sides[-1])
        layers += [nn.LeakyReLU(0.2, inplace=True), latent, nn.Flatten(), nn.Sigmoid()]
        self.encoder = nn.Sequential(*layers)
        self.texture_code = _code(latent_size, _TEXTURE_SIZE)
        self.warp_code = _code(latent_size, _WARP_SIZE)
        self.texture_decoder = nn.Sequential(
            *_decoder(_TEXTURE_SIZE, widths, sides, 3), nn.Hardtanh(0.0, 1.0)
        )
        self.warp_decoder = nn.Sequential(*_decoder(_WARP_SIZE, widths, sides, 2), nn.Sigmoid())

    def embed(self, images: Tensor) -> Tensor:
        """Compute the latent vectors (N, 512) of images (N, 3, S, S), uint8 or in [0, 1]."""
        latent: Tensor = self.encoder(unit_range(images))
        return latent

    def texture_and_flow(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Decode a texture (N, 3, S, S) and its residual warp (N, 2, S, S) in normalised units.

        The image is the texture, sampled at p + residual(p).
        """
        texture = self.texture_decoder(self.texture_code(latent))
        steps = self.warp_decoder(self.warp_code(latent)) * (_STEP / self.image_size)
        # Sums of all steps up to each pixel. torch's cumsum is not deterministic on a GPU.
        upper = torch.ones_like(steps[0, 0]).triu()
        x, y = steps[:, 0] @ upper, upper.T @ steps[:, 1]
        grid = (torch.stack([x, y], 1) + _FIRST).clamp(-1, 1)
        at = torch.linspace(-1, 1, self.image_size, dtype=grid.dtype, device=grid.device)
        return texture, grid - torch.stack(torch.meshgrid(at, at, indexing="xy"))

    def losses(self, source: Tensor, target: Tensor) -> Tensor:
        """Compute the losses (N,) of the sources. This method learns from single images."""
        source = unit_range(source)
        texture, residual = self.texture_and_flow(self.embed(source))
        rough = sum(residual.diff(dim=d).abs().sum((1, 2, 3)) for d in (2, 3))
        shift = residual.mean(0).square().mean()
        error = warp_l1(texture, residual, source, units="normalized")
        return error + self.smoothness * rough + self.bias * shift


def _code(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, outputs), nn.Sigmoid(), nn.Unflatten(1, (-1, 1, 1)))


def _decoder(inputs: int, widths: list[int], sides: list[int], channels: int) -> list[nn.Module]:
    """Build transposed convolutions: to the last side, back through all, then at full size."""
    layers = [nn.ConvTranspose2d(inputs, widths[-1], sides[-1], bias=False)]
    layers += [
        nn.ConvTranspose2d(wide, narrow, 4, stride=2, padding=1, bias=False)
        for wide, narrow in zip(widths[::-1], [*widths[-2::-1], widths[0]], strict=True)
    ]
    crops = [[], *(cropped(side) for side in sides[-2::-1])]
    normed = [
        part
        for layer, crop in zip(layers, crops, strict=True)
        for part in (
            layer,
            *crop,
            nn.BatchNorm2d(layer.out_channels),
            nn.LeakyReLU(0.2, inplace=True),
        )
    ]
    return [*normed, nn.ConvTranspose2d(widths[0], channels, 3, padding=1)]


DEFORMING_AE = self_supervised(
    "deforming_ae",
    "DeformAE",
    DeformingAutoencoder,
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
