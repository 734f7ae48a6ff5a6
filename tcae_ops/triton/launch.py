"""Kernel launches: the arguments that all kernels share, and the device they run on."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import triton.language as tl
from torch import Tensor

from tcae_ops import reference
from tcae_ops.request import Request
from tcae_ops.triton.tensors import View, view

# Products and sums are not fused, so that the backward pass finds the bits of the forward pass.
OPTIONS = {"num_warps": 4, "enable_fp_fusion": False}
BLOCK = 128  # pixels, one per thread: with two the backward pass needs too many registers
FAR = 2**31  # planes of so many elements need offsets of 64 bits
_WORKING = {torch.float32: tl.float32, torch.float64: tl.float64}


@dataclass(frozen=True)
class Call:
    """The arguments of a pass, as kernels take them.

    Attributes:
        image: (N, C, height, width), or one for all samples. All tensors are on its device.
        views: Image, flows, logits and target.
        shape: Of the warped image: (N, C, H, W).
        blocks: Number of blocks of a sample.
        working: The type of all computation.
        sampling: The arguments that say how positions are found.
        types: Constants that all kernels take.
    """

    image: Tensor
    views: tuple[View, tuple[View, ...], tuple[View, ...], View]
    shape: torch.Size
    blocks: int
    working: torch.dtype
    sampling: dict[str, Any]
    types: dict[str, Any]

    @staticmethod
    def of(request: Request, others: Sequence[Tensor]) -> Call:
        """Describe the inputs of a pass. `others` are further tensors (N, C, H, W) that it uses."""
        image, flows, logits, target, units, padding, _ = request
        inputs = image, *flows, *logits, *target
        working = reference.working_dtype(*inputs)
        shape = reference.warped_shape(image, flows[0])
        pixels = shape[2] * shape[3]
        far = max(pixels + BLOCK, *map(_span, (*inputs, *others)))
        return Call(
            image,
            (
                view(image),
                tuple(map(view, flows)),
                tuple(map(view, logits)),
                view(target[0] if target else None),
            ),
            shape,
            -(-pixels // BLOCK),
            working,
            {
                "height": image.shape[2],
                "width": image.shape[3],
                "normalized": units == "normalized",
                "PADDING": padding,
            },
            {
                "WORKING": _WORKING[working],
                "INDEX": tl.int32 if far < FAR else tl.int64,
                "BLOCK": BLOCK,
            },
        )

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """Blocks of a sample, and the channels, height and width of the warped image."""
        _, c, h, w = self.shape
        return self.blocks, c, h, w

    @property
    def numbers(self) -> int:
        """How many numbers a loss is the mean of."""
        return self.shape[1:].numel()

    @property
    def programs(self) -> int:
        """Blocks of all samples."""
        return self.shape[0] * self.blocks

    def scratch(self) -> Tensor:
        """Return memory for one number per block: (N, blocks)."""
        size = self.shape[0], self.blocks
        return torch.empty(size, dtype=torch.float64, device=self.image.device)


def _span(tensor: Tensor) -> int:
    """Return how many elements of memory a plane spans."""
    *_, h, w = tensor.shape
    *_, stride_h, stride_w = tensor.stride()
    return (h - 1) * stride_h + (w - 1) * stride_w


def launch(kernel: Any, programs: int, image: Tensor, *arguments: Any, **constants: Any) -> None:
    """Start a kernel on the current stream of the image's device. Do not wait for it."""
    if programs == 0:
        return
    with torch.cuda.device(image.device) if image.is_cuda else nullcontext():
        kernel[(programs,)](*arguments, **constants, **OPTIONS)
