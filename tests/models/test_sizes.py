"""Images whose side is no power of two: halved with rounding up, and doubled to the same sides."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from tcae.methods.deforming_ae import DeformingAutoencoder
from tcae.methods.fab_net import FabNet
from tcae.models.encoder import Encoder
from tcae.models.model_config import MODEL_PRESETS, ModelConfig
from tcae.models.sides import HalvingConv2d, halved
from tcae.models.twin_cycle import TwinCycle
from tcae.objectives.objective_config import OBJECTIVE_PRESETS
from tcae.objectives.twin_cycle import TwinCycleObjective


@pytest.mark.parametrize("side", [32, 48, 96, 112, 160, 224, 256])
@pytest.mark.parametrize("last", [1, 4, 8])
def test_each_side_is_the_ceiling_of_a_share_of_the_first(side: int, last: int) -> None:
    sides = halved(side, last)
    assert sides == [math.ceil(side / 2**level) for level in range(len(sides))]
    assert len(sides) - 1 == math.ceil(math.log2(side / last))


def test_a_convolution_of_an_odd_side_sees_zeros_beyond_it() -> None:
    torch.manual_seed(0)
    convolve, maps = HalvingConv2d(2, 3), torch.rand(1, 2, 7, 7)
    larger = torch.zeros(1, 2, 8, 8)
    larger[..., :7, :7] = maps
    assert convolve(maps).shape == (1, 3, 4, 4)
    assert torch.equal(convolve(maps), convolve(larger))
    plain = nn.Conv2d(2, 3, 4, stride=2, padding=1)
    plain.load_state_dict(convolve.state_dict())
    assert torch.equal(convolve(larger), plain(larger))


def sides_of(module: nn.Module, *inputs: torch.Tensor) -> list[int]:
    """The sides of the maps after each batch norm, in the order in which they are computed."""
    sides: list[int] = []
    hooks = [
        part.register_forward_hook(lambda *it: sides.append(it[2].shape[-1]))
        for part in module.modules()
        if isinstance(part, nn.BatchNorm2d)
    ]
    module(*inputs)
    for hook in hooks:
        hook.remove()
    return sides


@pytest.mark.parametrize(
    ("side", "down", "up"),
    [(48, [24, 12, 6, 3, 2], [2, 3, 6, 12, 24]), (112, [56, 28, 14, 7, 4, 2], None)],
)
def test_levels_of_the_paper_s_model(side: int, down: list[int], up: list[int] | None) -> None:
    config = ModelConfig(**{**vars(MODEL_PRESETS["official"]), "base_filters": 2})
    model = TwinCycle(Encoder(config, side)).eval()
    both = [*down, *down[-2:]]  # the last levels once for each embedding
    assert sides_of(model.encoder, torch.rand(1, 3, side, side)) == both
    code = torch.rand(1, config.embedding_size)
    assert sides_of(model.au_decoder, code, code) == (up or down[::-1])
    flow, _ = model.au_motion(code, code)
    assert flow.shape == (1, 2, side, side)


@pytest.mark.parametrize(("side", "first"), [(48, 6), (96, 6), (112, 4), (160, 5), (64, 4)])
def test_the_first_map_is_the_smallest_that_is_large_enough(side: int, first: int) -> None:
    model = TwinCycle(Encoder(ModelConfig(base_filters=2), side))
    code = torch.rand(2, model.encoder.embedding_size)
    assert sides_of(model.au_decoder, code, code)[0] == first


@pytest.mark.parametrize(("side", "encoder"), [(48, "residual"), (160, "plain"), (224, "residual")])
def test_every_weight_learns(side: int, encoder: str) -> None:
    torch.manual_seed(0)
    config = ModelConfig(encoder=encoder, base_filters=2, zero_init=False)  # type: ignore[arg-type]
    objective = TwinCycleObjective(TwinCycle(Encoder(config, side)), OBJECTIVE_PRESETS["default"])
    source, target = torch.rand(2, 4, 3, side, side)
    objective.total(objective(source, target)).sum().backward()
    still = [n for n, p in objective.named_parameters() if p.grad is None or not p.grad.any()]
    # The pose is zero at first: what follows it learns from the second step on.
    assert all("pose" in name or "decorrelation" in name for name in still), still
    assert all(p.grad is None or p.grad.isfinite().all() for p in objective.parameters())


@pytest.mark.parametrize("side", [48, 96, 112])
def test_networks_to_compare_with(side: int) -> None:
    images = torch.rand(2, 3, side, side)
    fab_net = FabNet(side, base_filters=2, embedding_size=4)
    assert fab_net.embed(images).shape == (2, 4)
    assert fab_net.losses(images, images).shape == (2,)
    deforming = DeformingAutoencoder(side, base_filters=2, latent_size=4)
    assert deforming.embed(images).shape == (2, 4)
    texture, flow = deforming.texture_and_flow(deforming.embed(images))
    assert texture.shape == images.shape and flow.shape == (2, 2, side, side)
