"""How kernels are started: what all of them are told of a call, and on which device they run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import triton.language as tl
from torch import Tensor

from tcae_ops.reference import working_dtype
from tcae_ops.triton.tensors import View, view

# Products and sums are not fused: the backward pass finds the forward pass's very bits.
OPTIONS = {"num_warps": 4, "enable_fp_fusion": False}
BLOCK = 128  # pixels, one for each thread: with two the backward pass needs too many registers
FAR = 2**31  # elements from which offsets inside a plane need 64 bits
_WORKING = {torch.float32: tl.float32, torch.float64: tl.float64}


@dataclass(frozen=True)
class Call:
    """The arguments of a pass, as kernels take them.

    Attributes:
        image: (N, C, H, W); the tensors are where it is.
        views: Image, flows, logits and target.
        blocks: How many share an image.
        working: The type that is computed in.
        sampling: What says how positions are found.
        types: Constants that all kernels take.
    """

    image: Tensor
    views: tuple[View, tuple[View, ...], tuple[View, ...], View]
    blocks: int
    working: torch.dtype
    sampling: dict[str, Any]
    types: dict[str, Any]

    @staticmethod
    def of(
        inputs: Sequence[Tensor],
        flows: int,
        logits: int,
        units: str,
        padding: str,
        others: Sequence[Tensor],
    ) -> Call:
        """Describes the inputs of a pass; `others` are the tensors (N, C, H, W) beside them."""
        image, *rest = inputs
        fields, target = rest[: flows + logits], rest[flows + logits :]
        working = working_dtype(*inputs)
        pixels = image.shape[2] * image.shape[3]
        far = max(pixels + BLOCK, *map(_span, (*inputs, *others)))
        return Call(
            image,
            (
                view(image),
                tuple(map(view, fields[:flows])),
                tuple(map(view, fields[flows:])),
                view(target[0] if target else None),
            ),
            -(-pixels // BLOCK),
            working,
            {"normalized": units == "normalized", "PADDING": padding},
            {
                "WORKING": _WORKING[working],
                "INDEX": tl.int32 if far < FAR else tl.int64,
                "BLOCK": BLOCK,
            },
        )

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """Blocks of an image, channels, height and width."""
        _, c, h, w = self.image.shape
        return self.blocks, c, h, w

    @property
    def programs(self) -> int:
        """Blocks of all images."""
        return self.image.shape[0] * self.blocks

    def scratch(self) -> Tensor:
        """Memory for a number of each block: (N, blocks)."""
        size = self.image.shape[0], self.blocks
        return torch.empty(size, dtype=torch.float64, device=self.image.device)


def _span(tensor: Tensor) -> int:
    """How many elements a plane stretches over."""
    *_, h, w = tensor.shape
    *_, stride_h, stride_w = tensor.stride()
    return (h - 1) * stride_h + (w - 1) * stride_w


def launch(kernel: Any, programs: int, image: Tensor, *arguments: Any, **constants: Any) -> None:
    """Starts a kernel on the current stream of the image's device. Nothing waits for it."""
    if programs == 0:
        return
    with torch.cuda.device(image.device) if image.is_cuda else nullcontext():
        kernel[(programs,)](*arguments, **constants, **OPTIONS)
