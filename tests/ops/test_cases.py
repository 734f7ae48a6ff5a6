"""The case table: every case x backend x image type x layout against the definition in fp64."""

import pytest
import torch

import tcae_ops
from tcae_ops import library
from tcae_ops.selftest.cases import CASES, IMAGES, LAYOUTS, make_inputs


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", IMAGES, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(backend, agree, name, dtype, layout):
    case = CASES[name]
    inputs = make_inputs(case, dtype, layout, torch.get_default_device())
    agree(inputs.all, case.count, inputs.upstream, case.options, backend)


@pytest.mark.parametrize("dtype", IMAGES, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_every_other_instruction_set(cpp, agree, name, dtype):
    """The instruction set in use is tested above, as backend `cpp`."""
    case = CASES[name]
    before = torch.ops.tcae_ops.simd_level()
    for level in library.SIMD_LEVELS:
        try:
            if level == before or not torch.ops.tcae_ops.use_simd_level(level):
                continue
            for layout in LAYOUTS:
                inputs = make_inputs(case, dtype, layout, torch.device("cpu"))
                agree(inputs.all, case.count, inputs.upstream, case.options, "cpp")
        finally:
            torch.ops.tcae_ops.use_simd_level(before)


def same_bits(a, b):
    return torch.equal(a.view(torch.int32), b.view(torch.int32))


@pytest.mark.parametrize("name", CASES)
def test_operators_give_the_same_bits_alone_and_together(backend, problem, name):
    case = CASES[name]
    count = max(case.count, 1)
    image, flows, logits, target = problem(case.shape, count, reach=case.reach, size=case.size)
    image, target = case.given("image", image), case.given("target", target)
    options = {**case.options, "backend": backend}
    for ops, rest in (
        ((tcae_ops.warp, tcae_ops.warp_l1), (flows[0],)),
        ((tcae_ops.blend_warp, tcae_ops.blend_warp_l1), (flows, logits)),
    ):
        warp, warp_l1 = ops
        loss, warped = warp_l1(image, *rest, target, return_warped=True, **options)
        assert same_bits(warped, warp(image, *rest, **options))
        assert same_bits(loss, warp_l1(image, *rest, target, **options))
