"""Up-sampling and convolution in one against the two of torch, one after the other."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tcae.models.upsampling import _Bilinear, upsampled_conv

Convolve = Callable[[Tensor, Tensor, Tensor | None], Tensor]
WIDTHS = pytest.mark.parametrize("outputs", [3, 8, 9, 20])


def plain(maps: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    maps = F.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)
    return F.conv2d(maps, weight, bias, padding=1)


def inputs(side: int, outputs: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
    torch.manual_seed(side + outputs)
    shapes = [(2, 5, side, side), (outputs, 5, 3, 3), (outputs,)]
    return tuple(torch.randn(shape, dtype=dtype, requires_grad=True) for shape in shapes)


def derivatives(convolve: Convolve, side: int, outputs: int) -> list[Tensor]:
    """Result, gradients, and the gradients of a function of the gradients."""
    given = inputs(side, outputs)
    made = convolve(*given)
    torch.manual_seed(0)
    weights = torch.randn(made.shape, dtype=made.dtype)  # of any layout
    first = torch.autograd.grad(made, given, weights, create_graph=True)
    # A bias has no part in other gradients.
    second = torch.autograd.grad([g.square().sum() for g in first[:2]], given[:2])
    return [made, *first, *second]


@pytest.mark.parametrize("side", [1, 2, 8, 17, 32])
@WIDTHS
def test_it_is_up_sampling_and_convolution(side: int, outputs: int) -> None:
    found = derivatives(upsampled_conv, side, outputs)
    for one, other in zip(found, derivatives(plain, side, outputs), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def on_gpus(maps: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return F.conv2d(_Bilinear.apply(maps), weight, bias, padding=1)


@pytest.mark.parametrize("side", [1, 2, 8, 17])
def test_the_way_of_gpus_is_up_sampling_and_convolution(side: int) -> None:
    found = derivatives(on_gpus, side, 3)
    for one, other in zip(found, derivatives(plain, side, 3), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@WIDTHS
def test_without_bias_in_any_layout(outputs: int) -> None:
    maps, weight, _ = inputs(32, outputs)
    wanted = plain(maps, weight, None)
    for layout in (torch.contiguous_format, torch.channels_last):
        found = upsampled_conv(maps.contiguous(memory_format=layout), weight, None)
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)
    strided = maps.repeat_interleave(2, 1)[:, ::2]
    torch.testing.assert_close(upsampled_conv(strided, weight, None), wanted, rtol=1e-9, atol=1e-9)


@WIDTHS
def test_single_precision_is_as_exact(outputs: int) -> None:
    given = inputs(32, outputs)
    true = plain(*given)
    errors = [
        (convolve(*(tensor.float() for tensor in given)) - true).abs().max()
        for convolve in (upsampled_conv, plain)
    ]
    assert errors[0] < 4 * errors[1]


@WIDTHS
def test_it_keeps_the_small_maps_alone(outputs: int) -> None:
    given = inputs(32, outputs, torch.float32)
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        made = upsampled_conv(*given)
    own = {tensor.untyped_storage().data_ptr() for tensor in given}
    edges = 4 * 2 * 5 * 66 * 4  # bytes
    weights = 4 * 12 * 5 * 9 * 4 + 3 * given[1].nbytes
    assert sum(size for place, size in kept.items() if place not in own) <= edges + weights
    assert made.nbytes > 0


def test_no_gradient_is_computed_for_what_needs_none() -> None:
    maps, weight, bias = inputs(32, 9)
    with torch.no_grad():
        assert not upsampled_conv(maps, weight, bias).requires_grad
    made = upsampled_conv(maps.detach(), weight, bias)
    made.sum().backward()
    assert maps.grad is None and weight.grad is not None


def test_under_autocast() -> None:
    for side, outputs in [(1, 20), (8, 20), (32, 20), (32, 3)]:
        maps, weight, bias = inputs(side, outputs, torch.float32)
        with torch.autocast("cpu", torch.bfloat16):
            made = upsampled_conv(maps.bfloat16(), weight, bias)  # as other layers make them
        assert made.dtype == torch.bfloat16
        wanted = plain(maps, weight, bias)
        assert (made - wanted).norm() < 0.01 * wanted.norm()
        made.float().sum().backward()
        given = (maps, weight, bias)
        found = [tensor.grad for tensor in given]
        for one, other in zip(found, torch.autograd.grad(wanted.sum(), given), strict=True):
            assert one is not None and (one - other).norm() < 0.01 * other.norm()
