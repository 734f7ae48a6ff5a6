"""The decoder: from two embeddings to the motion between their images (Fig. 3, bottom)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tcae.models.sides import cropped, halved
from tcae.models.upsampling import upsampled_conv


class Decoder(nn.Module):
    """Blocks of bilinear x2 up-sampling and convolution, from the embeddings to the image's size.

    Sides are those of halving the image, rounded up: what is beyond is cut off. A block that ends
    before the image has n halvings left has `base_filters * min(2**(n - 1), 8)` channels, the last
    one has 3.

    Args:
        image_size: Side of the motion, a multiple of 16 from 32.
        base_filters: Channels of the last block but one.
        embedding_size: Length D of each embedding.
        conv_bias: Whether layers before a batch norm have a bias.
        start: Least side of the first map. 1: it is the embeddings themselves. Larger: a fully
            connected layer computes it.
        leading_relu: Whether the embeddings pass a ReLU first.
        zero_init: Whether the decoder starts as the identity warp, its last convolution being zero.
    """

    def __init__(
        self,
        *,
        image_size: int,
        base_filters: int,
        embedding_size: int,
        conv_bias: bool,
        start: int,
        leading_relu: bool,
        zero_init: bool,
    ) -> None:
        super().__init__()

        *larger, last = halved(image_size)
        while last < start:
            *larger, last = larger
        *shallow, first = [base_filters * min(2**level, 8) for level in range(len(larger))]
        self.leading_relu = nn.ReLU() if leading_relu else nn.Identity()
        inputs = 2 * embedding_size
        if start == 1:
            self.start: nn.Module = nn.Unflatten(1, (inputs, 1, 1))
        else:
            self.start = up_start(inputs, first, last, conv_bias)
            inputs = first
        blocks: list[nn.Module] = []
        for side, width in zip(larger[:0:-1], shallow[::-1], strict=True):
            blocks.append(up_block(inputs, width, conv_bias, side))
            inputs = width
        self.blocks = nn.Sequential(*blocks)
        self.motion = _Upsampled(nn.Conv2d(inputs, 3, 3, padding=1), *cropped(image_size))
        if zero_init:
            for parameter in self.motion.parameters():
                nn.init.zeros_(parameter)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Decode the embeddings (N, D) of source and target into one tensor (N, 3, S, S).

        Channels 0 and 1 are the displacement x, y in normalised units, channel 2 is the logit of
        the mask. All go through a tanh, so blending weights stay in [0.119, 0.881]. Without a tanh
        on the logit, the reconstruction was as good: .609 of the unmoved source's L1 instead of
        .608, measured as for `MODEL_PRESETS`.
        """
        embeddings = self.leading_relu(torch.cat([source, target], 1))
        motion: Tensor = self.motion(self.blocks(self.start(embeddings)))
        return motion.tanh()


class _Upsampled(nn.Sequential):
    """Bilinear x2 up-sampling and a convolution in one operation, then other layers."""

    def __init__(self, *layers: nn.Module) -> None:
        upsample = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        super().__init__(upsample, *layers)

    def forward(self, maps: Tensor) -> Tensor:
        if torch.compiler.is_compiling():
            return super().forward(maps)  # a compiler decides for itself what to keep
        _, convolution, *others = self
        assert isinstance(convolution, nn.Conv2d)
        maps = upsampled_conv(maps, convolution.weight, convolution.bias)
        for layer in others:
            maps = layer(maps)
        return maps


def up_start(inputs: int, outputs: int, side: int, bias: bool) -> nn.Sequential:
    """Build a fully connected layer from vectors (N, inputs) to maps (N, outputs, side, side)."""
    return nn.Sequential(
        nn.Linear(inputs, outputs * side * side, bias=bias),
        nn.Unflatten(1, (outputs, side, side)),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def up_block(inputs: int, outputs: int, bias: bool, side: int) -> nn.Sequential:
    """Build a block from maps to maps of a side twice as large, or one less."""
    return _Upsampled(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias),
        *cropped(side),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
