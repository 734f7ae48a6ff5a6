"""The case table: every case x backend x image type x layout against the definition in fp64."""

import math
from dataclasses import dataclass

import pytest
import torch

import tcae_ops

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


@dataclass(frozen=True)
class Case:
    shape: tuple[int, int, int, int]
    count: int = 2  # flows to blend; 0: one flow, taken as it is
    units: str = "pixels"
    padding: str = "border"
    reach: float = 3.0  # of the displacements, a standard deviation
    flow: torch.dtype = torch.float32


CASES = {
    "twin": Case((2, 3, 19, 33), units="normalized", reach=0.2),
    "warp": Case((2, 3, 17, 31), count=0),
    "warp in fractions": Case((2, 3, 17, 31), count=0, units="normalized", reach=0.2),
    "zeros": Case((2, 3, 17, 31), padding="zeros", reach=5.0),
    "reflection": Case((2, 3, 17, 31), padding="reflection", reach=5.0),
    "rough": Case((1, 3, 32, 70), reach=20.0),
    "far outside": Case((1, 2, 9, 12), reach=1e3),
    "far outside, zeros": Case((1, 2, 9, 12), padding="zeros", reach=1e3),
    "mirrored many times": Case((1, 2, 9, 12), padding="reflection", reach=60.0),
    "fp16 flows": Case((2, 3, 17, 31), flow=torch.float16),
    "bf16 flows": Case((2, 3, 17, 31), units="normalized", reach=0.2, flow=torch.bfloat16),
    "fp64 flows": Case((2, 3, 17, 31), padding="reflection", flow=torch.float64),
    "one blended": Case((1, 3, 6, 40), count=1),
    "many blended": Case((1, 2, 13, 15), count=10, reach=6.0),
    "wide": Case((1, 2, 3, 531), padding="reflection"),
    "tall": Case((1, 2, 531, 3), padding="zeros"),
    "deep": Case((2, 17, 6, 9)),
    "one pixel": Case((2, 3, 1, 1), padding="reflection"),
    "one row": Case((2, 3, 1, 37), units="normalized", padding="zeros", reach=0.5),
    "one column": Case((2, 3, 21, 1), count=0),
    "still": Case((2, 3, 8, 20), reach=0.0),
    "nobody": Case((0, 3, 8, 20)),
    "nowhere": Case((2, 3, 9, 20), count=0, reach=math.nan),
    "nowhere in one pixel": Case((1, 2, 1, 1), count=0, padding="reflection", reach=math.nan),
    "nowhere, zeros": Case((1, 2, 5, 1), count=0, padding="zeros", reach=math.nan),
    "infinitely far": Case((2, 3, 9, 20), count=0, reach=math.inf),
    "infinitely far, zeros": Case((1, 2, 5, 18), count=0, padding="zeros", reach=math.inf),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", IMAGES, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(backend, problem, lay_out, agree, name, dtype, layout):
    case = CASES[name]
    count = max(case.count, 1)
    image, flows, logits, target = problem(case.shape, count, dtype, case.flow, case.reach)
    # A decoder's output, of which flow and logit are views.
    parts = [
        torch.cat([f, k.reshape(f[:, :1].shape)], 1) for f, k in zip(flows, logits, strict=True)
    ]
    parts = [lay_out(part, layout) for part in parts]
    fields = [part[:, :2] for part in parts]
    fields += [part[:, 2] if k % 2 else part[:, 2:] for k, part in enumerate(parts)]
    inputs = [lay_out(image, layout), *fields[: count + case.count], lay_out(target, layout)]
    generator = torch.Generator().manual_seed(1)
    upstream = [  # both weigh the same in the gradients, though the loss is a mean
        torch.randn(case.shape[0], generator=generator) * image[:1].numel(),
        lay_out(torch.randn(case.shape, generator=generator), layout),
    ]
    options = {"units": case.units, "padding": case.padding}
    agree(inputs, case.count, upstream, options, backend)


def same_bits(a, b):
    return torch.equal(a.view(torch.int32), b.view(torch.int32))


@pytest.mark.parametrize("name", CASES)
def test_operators_give_the_same_bits_alone_and_together(backend, problem, name):
    case = CASES[name]
    image, flows, logits, target = problem(case.shape, max(case.count, 1), reach=case.reach)
    options = {"units": case.units, "padding": case.padding, "backend": backend}
    for ops, rest in (
        ((tcae_ops.warp, tcae_ops.warp_l1), (flows[0],)),
        ((tcae_ops.blend_warp, tcae_ops.blend_warp_l1), (flows, logits)),
    ):
        warp, warp_l1 = ops
        loss, warped = warp_l1(image, *rest, target, return_warped=True, **options)
        assert same_bits(warped, warp(image, *rest, **options))
        assert same_bits(loss, warp_l1(image, *rest, target, **options))
