"""The table of cases that the operators are tested on, and random inputs for them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from tcae_ops.request import Padding, Units

IMAGES = [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64]
LAYOUTS = [
    "contiguous",
    "channels_last",
    "sliced",
    "stepped",
    "transposed",
    "expanded",
    "constant",
]


Argument = Literal["image", "flows", "logits", "target"]


@dataclass(frozen=True)
class Case:
    """Everything except the image's type and the layout in memory.

    `shape` is that of the warped image.
    """

    shape: tuple[int, int, int, int]
    count: int = 2  # flows to blend; 0 means one flow, not blended
    units: Units = "pixels"
    padding: Padding = "border"
    reach: float = 3.0  # standard deviation of the displacements
    flow: torch.dtype = torch.float32
    size: tuple[int, int] | None = None  # of the image, if it is another
    alone: tuple[Argument, ...] = ()  # given only once, for all samples

    @property
    def options(self) -> dict[str, Any]:
        """The options of the operators."""
        return {"units": self.units, "padding": self.padding}

    def given(self, argument: Argument, tensor: Tensor) -> Tensor:
        """Return what is given of a batch: all, or one sample."""
        if argument not in self.alone:
            return tensor
        return tensor[:1] if len(tensor) else tensor.new_ones(1, *tensor.shape[1:])


CASES = {
    "twin": Case((2, 3, 19, 33), units="normalized", reach=0.2),
    "warp": Case((2, 3, 17, 31), count=0),
    "warp by fp16": Case((2, 3, 17, 31), count=0, flow=torch.float16),
    "warp by bf16": Case(
        (2, 3, 17, 32), count=0, units="normalized", reach=0.2, flow=torch.bfloat16
    ),
    "warp in fractions": Case((2, 3, 17, 31), count=0, units="normalized", reach=0.2),
    "zeros": Case((2, 3, 17, 31), padding="zeros", reach=5.0),
    "reflection": Case((2, 3, 17, 31), padding="reflection", reach=5.0),
    "rough": Case((1, 3, 32, 70), reach=20.0),
    "far outside": Case((1, 2, 9, 12), reach=1e3),
    "far outside, zeros": Case((1, 2, 9, 12), padding="zeros", reach=1e3),
    "mirrored many times": Case((1, 2, 9, 12), padding="reflection", reach=60.0),
    "fp16 flows": Case((2, 3, 17, 31), flow=torch.float16),
    "bf16 flows": Case((2, 3, 17, 32), units="normalized", reach=0.2, flow=torch.bfloat16),
    "fp64 flows": Case((2, 3, 17, 31), padding="reflection", flow=torch.float64),
    "one blended": Case((1, 3, 6, 40), count=1),
    "many blended": Case((1, 2, 13, 15), count=10, reach=6.0),
    "wide": Case((1, 2, 3, 531), padding="reflection"),
    "tall": Case((1, 2, 531, 3), padding="zeros"),
    "deep": Case((2, 17, 6, 9)),
    "deep, zeros": Case((2, 9, 6, 9), count=0, padding="zeros", reach=5.0),
    "one pixel": Case((2, 3, 1, 1), padding="reflection"),
    "one row": Case((2, 3, 1, 37), units="normalized", padding="zeros", reach=0.5),
    "one column": Case((2, 3, 21, 1), count=0),
    "still": Case((2, 3, 8, 20), reach=0.0),
    "nobody": Case((0, 3, 8, 20)),
    "smaller": Case((2, 3, 9, 20), size=(17, 31)),
    "larger": Case((1, 3, 21, 66), units="normalized", padding="zeros", reach=0.5, size=(6, 9)),
    "one image": Case((5, 3, 40, 60), alone=("image",)),
    "one flow and one target": Case((3, 2, 8, 24), count=0, alone=("flows", "target")),
    "one of all but the logits": Case(
        (3, 3, 7, 20), padding="reflection", size=(9, 12), alone=("image", "flows", "target")
    ),
    "nowhere": Case((2, 3, 9, 20), count=0, reach=math.nan),
    "nowhere in one pixel": Case((1, 2, 1, 1), count=0, padding="reflection", reach=math.nan),
    "nowhere, zeros": Case((1, 2, 5, 1), count=0, padding="zeros", reach=math.nan),
    "infinitely far": Case((2, 3, 9, 20), count=0, reach=math.inf),
    "infinitely far, zeros": Case((1, 2, 5, 18), count=0, padding="zeros", reach=math.inf),
}


@dataclass(frozen=True)
class Inputs:
    """The arguments of all operators, and the gradients of their results."""

    image: Tensor
    flows: list[Tensor]
    logits: list[Tensor]  # empty for one flow that is not blended
    target: Tensor
    upstream: list[Tensor]  # gradients of the loss (N,) and of the warped image (N, C, H, W)

    @property
    def all(self) -> list[Tensor]:
        """All inputs that can have a gradient."""
        return [self.image, *self.flows, *self.logits, self.target]


def make_inputs(case: Case, dtype: torch.dtype, layout: str, device: torch.device) -> Inputs:
    """Make random inputs for a case, always the same, in a layout of `LAYOUTS`."""
    count = max(case.count, 1)
    image, flows, logits, target = random_inputs(
        case.shape, count, dtype, case.flow, case.reach, size=case.size
    )
    # As in a decoder's output, flow and logit are views of one tensor.
    parts = [
        torch.cat([f, k.reshape(f[:, :1].shape)], 1) for f, k in zip(flows, logits, strict=True)
    ]
    parts = [lay_out(part.to(device), layout) for part in parts]
    flows = [case.given("flows", part[:, :2]) for part in parts]
    logits = [part[:, 2] if k % 2 else part[:, 2:] for k, part in enumerate(parts)]
    logits = [case.given("logits", logit) for logit in logits]
    generator = torch.Generator().manual_seed(1)
    # Both have the same weight in the gradients, although the loss is a mean.
    by_loss = torch.randn(case.shape[0], generator=generator, device="cpu")
    by_loss *= math.prod(case.shape[1:])
    by_warped = torch.randn(case.shape, generator=generator, device="cpu")
    return Inputs(
        lay_out(case.given("image", image).to(device), layout),
        flows,
        logits[: case.count],
        lay_out(case.given("target", target).to(device), layout),
        [by_loss.to(device), lay_out(by_warped.to(device), layout)],
    )


def random_inputs(
    shape: tuple[int, int, int, int] = (2, 3, 5, 7),
    count: int = 2,
    image: torch.dtype = torch.float32,
    flow: torch.dtype = torch.float32,
    reach: float = 3.0,
    seed: int = 0,
    size: tuple[int, int] | None = None,
) -> tuple[Tensor, list[Tensor], list[Tensor], Tensor]:
    """Make image, flows, logits (of both accepted shapes) and target, on the CPU.

    All have the same size, or the image has another.
    """
    generator = torch.Generator().manual_seed(seed)
    n, c, h, w = shape

    def picture(h: int, w: int) -> Tensor:
        shape = n, c, h, w
        values = torch.rand(shape, generator=generator, dtype=torch.float64, device="cpu")
        return values.to(image) if image.is_floating_point else (values * 256).to(image)

    def field(channels: int) -> Tensor:
        shape = n, channels, h, w
        return torch.randn(shape, generator=generator, dtype=torch.float64, device="cpu")

    flows = [(reach * field(2)).to(flow) for _ in range(count)]
    logits = [field(1).to(flow) if k % 2 else field(1)[:, 0].to(flow) for k in range(count)]
    return picture(*(size or (h, w))), flows, logits, picture(h, w)


def lay_out(tensor: Tensor, layout: str) -> Tensor:
    """Copy a tensor (N, C, H, W) into another memory layout.

    "expanded" repeats its first sample, "constant" its first number.
    """
    if layout == "channels_last":
        return tensor.contiguous(memory_format=torch.channels_last)
    if layout == "sliced":
        n, c, h, w = tensor.shape
        whole = torch.full((n + 1, c + 1, h + 2, w + 3), math.nan, device=tensor.device)
        whole = whole.to(tensor.dtype)
        whole[1:, :c, 1:-1, 2:-1] = tensor
        return whole[1:, :c, 1:-1, 2:-1]
    if layout == "stepped":
        return tensor.repeat_interleave(2, 2).repeat_interleave(3, 3)[:, :, ::2, 1::3]
    if layout == "expanded":
        return tensor[:1].expand_as(tensor)
    if layout == "constant":
        return tensor[:1, :1, :1, :1].expand_as(tensor)
    if layout == "transposed":
        return tensor.transpose(2, 3).contiguous().transpose(2, 3)
    return tensor.contiguous()
