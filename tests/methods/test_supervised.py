from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, conv2d

from tcae.evaluation.metrics import score
from tcae.methods.alexnet import AlexNet
from tcae.methods.drml import Drml, RegionLayer
from tcae.methods.resnet import ResNet
from tcae.training.optimizer import OptimizerConfig
from tcae.training.simple_loop import Recipe, fit

SMALL = {
    "alexnet": (lambda: AlexNet(64, 2, hidden=32), 40),
    "drml": (lambda: Drml(64, 2, 8, 8, (64, 32)), 60),
    "resnet": (lambda: ResNet(64, 2, 4, (1, 1, 1)), 40),
}


@pytest.mark.parametrize("cartoons", [64], indirect=True)
@pytest.mark.parametrize("name", SMALL)
def test_learns_what_can_be_seen_and_nothing_else(name, cartoons, tmp_path: Path):
    build, steps = SMALL[name]
    torch.manual_seed(0)
    network = build()
    images, labels = cartoons.labelled(200, 10**6)

    def auc() -> list[float]:
        with torch.no_grad():
            return score(labels, network.eval()(images)).auc.tolist()

    untrained = auc()

    def losses(seen: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return binary_cross_entropy_with_logits(network(seen), wanted, reduction="none").mean(1)

    recipe = Recipe(steps, 16, OptimizerConfig(learning_rate=2e-3, warmup_steps=5))
    fit(network, losses, lambda s: cartoons.labelled(16, s), recipe, tmp_path / "a", name=name)
    mouth, coin = auc()
    assert mouth > 0.9 and mouth > untrained[0] + 0.1
    assert abs(coin - 0.5) < 0.15


def test_region_layer_is_one_convolution_per_region():
    torch.manual_seed(0)
    layer = RegionLayer(2).double().eval()
    convolution = layer.local[2]
    nn.init.normal_(layer.local[0].weight)
    features = torch.randn(3, 2, 16, 24, dtype=torch.float64)
    out = layer(features)
    for row in range(8):
        for column in range(8):
            where = (..., slice(2 * row, 2 * row + 2), slice(3 * column, 3 * column + 3))
            patch, k = features[where], 2 * (8 * row + column)
            scale = layer.local[0].weight[k : k + 2].view(1, 2, 1, 1) / (1 + 1e-5) ** 0.5
            weight, bias = convolution.weight[k : k + 2], convolution.bias[k : k + 2]
            expected = patch + conv2d((patch * scale).relu(), weight, bias, padding=1)
            torch.testing.assert_close(out[where], expected)


def test_drml_has_the_published_maps():
    network, sides = Drml(256, 12), []
    for module in network.convolutions:
        module.register_forward_hook(lambda m, i, out: sides.append(tuple(out.shape[1:])))
    network(torch.zeros(1, 3, 256, 256))
    maps = [s for i, s in enumerate(sides) if s not in sides[:i]]
    assert maps == [
        (32, 160, 160),
        (32, 80, 80),
        (16, 73, 73),
        (16, 66, 66),
        (16, 31, 31),
        (16, 27, 27),
        (16 * 27 * 27,),
    ]
    layers = [*network.hidden, *network.logits]
    assert [m.out_features for m in layers if isinstance(m, nn.Linear)] == [4096, 2048, 12]


def test_drml_refuses_what_its_convolutions_do_not_fit():
    with pytest.raises(ValueError, match="image_size is 32, DRML needs 64 or more"):
        Drml(32, 2)


def test_alexnet_has_the_published_layers():
    network = AlexNet(256, 12)
    convolutions = [m for m in network.trunk.modules() if isinstance(m, nn.Conv2d)]
    assert [(c.out_channels, c.kernel_size[0]) for c in convolutions] == [
        (96, 11),
        (256, 5),
        (384, 3),
        (384, 3),
        (256, 3),
    ]
    assert network.hidden[3].in_features == 256 * 6 * 6
    assert network(torch.zeros(1, 3, 256, 256)).shape == (1, 12)


def test_resnet_is_half_of_resnet_18():
    network = ResNet(64, 12)
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert sum(c.kernel_size == (3, 3) for c in convolutions) == 16  # and 7x7, and the logits: 18
    assert sum(p.numel() for p in network.parameters()) == 2_801_964
    assert network.embed(torch.zeros(1, 3, 64, 64)).shape == (1, 256)
