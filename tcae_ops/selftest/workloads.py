"""The workloads of speed measurements: operator, passes, shape, kind of flow and of data."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tcae_ops.traffic import backward_bytes, forward_bytes

LARGE = (16, 3, 256, 256)

FORWARD = "forward"
FLOW_GRADIENTS = "forward+backward"  # gradients of flows and logits
ALL_GRADIENTS = "forward+backward+image"  # also of the image

# Variants of the data. All others are compared with contiguous fp32.
CONTIGUOUS = "fp32"
VARIANTS = {
    "fp32-channels-last": "image and target channels-last",
    "bf16": "image and target bf16",
    "fp16": "image and target fp16",
    "uint8": "image and target uint8",
    "views": "flows and logits: channels of a decoder's contiguous output",
    "views-channels-last": "flows and logits: channels of a decoder's channels-last output",
    "training": "both channels-last, flows and logits bf16: as in training with mixed precision",
}
TRAINING = "training"
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "uint8": torch.uint8}


@dataclass(frozen=True)
class Workload:
    """What is measured: everything except the provider."""

    op: str
    span: str
    shape: tuple[int, int, int, int]
    flow: str = "smooth"
    data: str = CONTIGUOUS

    @property
    def size(self) -> str:
        """The shape in one word, such as 16x3x256x256."""
        return "x".join(map(str, self.shape))

    def __str__(self) -> str:
        data = "" if self.data == CONTIGUOUS else f" {self.data}"
        return f"{self.op} {self.span} {self.size} {self.flow}{data}"


@dataclass(frozen=True)
class Problem:
    """Inputs of an operator. Flows are in normalised units."""

    image: Tensor
    flows: tuple[Tensor, ...]
    logits: tuple[Tensor, ...]
    target: Tensor | None
    upstream: Tensor  # the gradient of the result

    @property
    def inputs(self) -> list[Tensor]:
        """Image, flows, logits and target."""
        target = [] if self.target is None else [self.target]
        return [self.image, *self.flows, *self.logits, *target]

    @property
    def needs(self) -> list[Tensor]:
        """The inputs whose gradients are computed."""
        return [t for t in self.inputs if t.requires_grad]

    @property
    def bytes(self) -> int:
        """The bytes that forward and backward pass must move."""
        arguments = self.image, self.flows, self.logits, self.target
        return forward_bytes(*arguments) + backward_bytes(*arguments)

    def first(self, count: int) -> Problem:
        """Return only the first samples, with gradients of the same inputs."""

        def cut(t: Tensor) -> Tensor:
            return t.detach()[:count].clone().requires_grad_(t.requires_grad)

        return Problem(
            cut(self.image),
            tuple(map(cut, self.flows)),
            tuple(map(cut, self.logits)),
            None if self.target is None else cut(self.target),
            cut(self.upstream),
        )


def make_problem(workload: Workload, device: torch.device) -> Problem:
    """Make random inputs, always the same."""
    generator = torch.Generator().manual_seed(0)
    n = workload.shape[0]
    blends, compares = workload.op.startswith("blend"), workload.op.endswith("_l1")
    pictures = [_picture(workload.shape, generator).to(device) for _ in range(2)]
    image, target = (_lay_out(picture, workload.data) for picture in pictures)
    fields = [_field(workload, generator).to(device) for _ in range(2 if blends else 1)]
    flows, logits = zip(*(_views(field, workload.data) for field in fields), strict=True)
    if workload.span != FORWARD:
        for t in (*flows, *logits):
            t.requires_grad_()
        image.requires_grad_(workload.span == ALL_GRADIENTS)
    dtype = image.dtype if image.dtype.is_floating_point else torch.float32
    by_warped = torch.randn(workload.shape, generator=generator).to(device, dtype)
    by_warped = _lay_out(by_warped, workload.data) if workload.data == TRAINING else by_warped
    return Problem(
        image,
        flows,
        logits if blends else (),
        target if compares else None,
        torch.full((n,), 1 / n, device=device) if compares else by_warped,
    )


def _field(workload: Workload, generator: torch.Generator) -> Tensor:
    """Make a flow and a logit in one tensor: (N, 3, H, W)."""
    n, _, h, w = workload.shape
    flow = _FLOWS[workload.flow](n, h, w, generator)
    return torch.cat([flow, torch.randn(n, 1, h, w, generator=generator)], 1)


def _picture(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Make pictures of structures a few pixels wide, with noise."""
    n, c, h, w = shape
    coarse = torch.rand(n, c, h // 8, w // 8, generator=generator)
    noise = 0.05 * torch.rand(shape, generator=generator)
    return 0.95 * F.interpolate(coarse, (h, w), mode="bilinear") + noise


def _smooth(n: int, h: int, w: int, generator: torch.Generator) -> Tensor:
    """Make flows a few pixels long that vary over tens of pixels, as a moving face does."""
    coarse = torch.randn(n, 2, h // 32 + 1, w // 32 + 1, generator=generator)
    return _normalised(3 * F.interpolate(coarse, (h, w), mode="bicubic"), h, w)


def _rough(n: int, h: int, w: int, generator: torch.Generator) -> Tensor:
    """Make flows of independent pixels, up to 20 pixels along each axis."""
    return _normalised(40 * torch.rand(n, 2, h, w, generator=generator) - 20, h, w)


_FLOWS = {"smooth": _smooth, "rough": _rough}


def _normalised(flow: Tensor, h: int, w: int) -> Tensor:
    return flow * torch.tensor([2 / (w - 1), 2 / (h - 1)])[:, None, None]


def _views(field: Tensor, data: str) -> tuple[Tensor, Tensor]:
    """Split a field of three channels into flow (N, 2, H, W) and logit (N, 1, H, W)."""
    if data == TRAINING:
        field = field.bfloat16()
    if data in ("views-channels-last", TRAINING):
        field = field.contiguous(memory_format=torch.channels_last)
    flow, logit = field[:, :2], field[:, 2:]
    return (
        (flow, logit)
        if data.startswith("views") or data == TRAINING
        else (flow.contiguous(), logit.contiguous())
    )


def _lay_out(image: Tensor, data: str) -> Tensor:
    if data in ("fp32-channels-last", TRAINING):
        return image.contiguous(memory_format=torch.channels_last)
    dtype = _DTYPES.get(data, torch.float32)
    return image.to(dtype) if dtype.is_floating_point else (image * 255).round().to(dtype)
