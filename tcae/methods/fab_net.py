"""FAb-Net: one embedding per face, one flow from source to target (Wiles et al., BMVC 2018)."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from tcae.methods.training import self_supervised
from tcae.models.decoder import Decoder
from tcae.models.encoder import unit_range
from tcae.models.model_config import check_image_size
from tcae.models.sides import HalvingConv2d, halved
from tcae.objectives.curriculum import CURRICULUM_PRESETS
from tcae.training.optimizer import OPTIMIZER_PRESETS
from tcae.training.simple_loop import Recipe
from tcae_ops import warp_l1


class FabNet(nn.Module):
    """An encoder of stride-2 convolutions, and a decoder like the twin cycle's.

    With a single source, the blending mask of the original is 1 everywhere, so it is left out. The
    defaults are the published architecture.

    Args:
        image_size: Side of the images in pixels, a multiple of 16 from 32.
        base_filters: Channels of the first level. Deeper levels have up to 8 times as many.
        embedding_size: Length of the embedding.
    """

    def __init__(self, image_size: int, base_filters: int = 32, embedding_size: int = 256) -> None:
        super().__init__()
        check_image_size(image_size)
        levels = len(halved(image_size)) - 1
        widths = [base_filters * min(2**level, 8) for level in range(levels - 1)]
        layers: list[nn.Module] = [HalvingConv2d(3, widths[0])]
        for inputs, outputs in pairwise(widths):
            layers += [*_down(inputs, outputs), nn.BatchNorm2d(outputs)]
        layers += [*_down(widths[-1], embedding_size), nn.Flatten()]
        self.encoder = nn.Sequential(*layers)
        self.decoder = Decoder(
            image_size=image_size,
            base_filters=base_filters,
            embedding_size=embedding_size,
            conv_bias=True,
            start=1,
            leading_relu=True,
            zero_init=False,
        )

    def embed(self, images: Tensor) -> Tensor:
        """Embed images (N, 3, S, S), uint8 or in [0, 1], to (N, 256)."""
        embeddings: Tensor = self.encoder(unit_range(images))
        return embeddings

    def losses(self, source: Tensor, target: Tensor) -> Tensor:
        """Compute the mean absolute differences (N,) of warped sources to their targets."""
        motion = self.decoder(self.embed(source), self.embed(target))
        return warp_l1(unit_range(source), motion[:, :2], unit_range(target), units="normalized")


def _down(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.LeakyReLU(0.2, inplace=True), HalvingConv2d(inputs, outputs)]


FAB_NET = self_supervised(
    "fab_net",
    "Fab-Net",
    FabNet,
    recipe=Recipe(
        steps=82_000,
        batch_size=64,
        optimizer=OPTIMIZER_PRESETS["paper"],
        curriculum=CURRICULUM_PRESETS["paper"],
    ),
)
