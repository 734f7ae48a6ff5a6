from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import grid_sample

from tcae.methods.deforming_ae import DeformingAutoencoder
from tcae.methods.fab_net import FabNet
from tcae.methods.split_brain import SplitBrain, colour_classes, rgb_to_lab
from tcae.training.optimizer import OptimizerConfig
from tcae.training.simple_loop import Recipe, fit

SMALL = {
    "fab_net": (lambda: FabNet(32, base_filters=8, embedding_size=32), 100, 0.9),
    "deforming_ae": (
        lambda: DeformingAutoencoder(32, base_filters=8, latent_size=64),
        60,
        0.5,
    ),
    "split_brain": (lambda: SplitBrain(32, hidden=64), 25, 0.8),
}


def held_out(network: nn.Module, batch: tuple[torch.Tensor, ...]) -> float:
    network.eval()
    with torch.no_grad():
        return float(network.losses(*batch).mean())


@pytest.mark.parametrize("name", SMALL)
def test_learns_above_its_untrained_self(name, cartoons, tmp_path: Path):
    build, steps, share = SMALL[name]
    torch.manual_seed(0)
    network, unseen = build(), cartoons.pairs(64, 10**6)
    with torch.no_grad():
        untrained = float(network.train().losses(*unseen).mean())
    recipe = Recipe(steps, 16, OptimizerConfig(learning_rate=3e-3, warmup_steps=5))
    fit(network, network.losses, lambda s: cartoons.pairs(16, s), recipe, tmp_path / "a", name=name)
    trained = held_out(network, unseen)
    assert trained < share * untrained
    if name == "fab_net":  # whose untrained self is hardly better than no motion
        source, target = (images.float() / 255 for images in unseen)
        assert trained < 0.8 * float((source - target).abs().mean())


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_fab_net_has_the_published_shape():
    network = FabNet(256)
    convolutions = [m for m in network.encoder if isinstance(m, nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [32, 64, 128, *[256] * 5]
    assert {(c.kernel_size, c.stride, c.padding) for c in convolutions} == {
        ((4, 4), (2, 2), (1, 1))
    }
    kinds = "".join(type(m).__name__[0] for m in network.encoder)
    assert kinds == "H" + "LHB" * 6 + "LH" + "F"  # no norm on the first and the last layer
    assert parameters(network.decoder) == 3_340_803  # as the twin cycle's
    assert network.embed(torch.zeros(2, 3, 256, 256)).shape == (2, 256)


def test_fab_net_loss_is_the_difference_of_the_warped_source(cartoons):
    network = FabNet(32, base_filters=4, embedding_size=8).eval()
    source, target = (images.double() / 255 for images in cartoons.pairs(3, 0))
    network.double()
    flow = network.decoder(network.embed(source), network.embed(target))[:, :2]
    at = torch.linspace(-1, 1, 32, dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(at, at, indexing="xy"), -1) + flow.permute(0, 2, 3, 1)
    warped = grid_sample(source, grid, padding_mode="border", align_corners=True)
    expected = (warped - target).abs().mean((1, 2, 3))
    torch.testing.assert_close(network.losses(source, target), expected)


def test_deforming_ae_has_the_published_shape():
    network = DeformingAutoencoder(64)
    convolutions = [m for m in network.encoder if isinstance(m, nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [32, 64, 128, 256, 512]
    assert [type(m).__name__ for m in network.encoder].count("BatchNorm2d") == 3
    codes = [code[0].out_features for code in (network.texture_code, network.warp_code)]
    assert codes == [16, 128]
    large = DeformingAutoencoder(256)
    assert large.embed(torch.zeros(1, 3, 256, 256)).shape == (1, 512)


def test_deforming_ae_loss_by_the_formula(cartoons):
    """A grid from cumulative sums, sampled by torch; the three terms one after the other."""
    torch.manual_seed(1)
    network = DeformingAutoencoder(32, 4, 16, smoothness=1e-3, bias=0.5).double().eval()
    image = cartoons.pairs(3, 0)[0].double() / 255
    latent = network.embed(image)
    steps = network.warp_decoder(network.warp_code(latent)) * 5 / 32
    grid = torch.empty_like(steps)
    for i in range(32):
        grid[:, 0, :, i] = steps[:, 0, :, : i + 1].sum(2) - 1.2
        grid[:, 1, i, :] = steps[:, 1, : i + 1, :].sum(1) - 1.2
    grid = grid.clamp(-1, 1)
    texture = network.texture_decoder(network.texture_code(latent))
    made = grid_sample(texture, grid.permute(0, 2, 3, 1), align_corners=True)
    at = torch.linspace(-1, 1, 32, dtype=torch.float64)
    residual = grid - torch.stack(torch.meshgrid(at, at, indexing="xy"))
    across = (residual[..., 1:] - residual[..., :-1]).abs().sum((1, 2, 3))
    down = (residual[:, :, 1:] - residual[:, :, :-1]).abs().sum((1, 2, 3))
    shift = (residual.mean(0) ** 2).mean()
    expected = (made - image).abs().mean((1, 2, 3)) + 1e-3 * (across + down) + 0.5 * shift
    torch.testing.assert_close(network.losses(image, image), expected)


def test_split_brain_has_the_published_shape():
    network = SplitBrain(64)
    assert network.lightness.widths == network.colour.widths == (48, 128, 192, 192, 128)
    assert network.to_colour[-1].out_channels == 313
    assert network.to_lightness[-1].out_channels == 100
    images = torch.zeros(1, 3, 64, 64)
    assert network.embed(images).shape == (1, 384 * 4)
    maps = network.lightness.conv3(images[:, :1]), network.colour.conv3(images[:, :2])
    assert sum(m.shape[1] for m in maps) == 384


def test_split_brain_halves_see_and_predict_the_other_half():
    network = SplitBrain(32, hidden=16).eval()
    seen = {}
    for half in ("lightness", "colour"):
        module = getattr(network, half)
        module.register_forward_hook(lambda m, inputs, out, h=half: seen.update({h: inputs[0]}))
    red = torch.zeros(1, 3, 32, 32)
    red[:, 0] = 1
    network.losses(red, red)
    # Red is L 53.24, a 80.09, b 67.20 (CIE, D65).
    torch.testing.assert_close(
        seen["lightness"][0, 0, 0, 0], torch.tensor(53.24 / 50 - 1), atol=1e-3, rtol=0
    )
    torch.testing.assert_close(
        seen["colour"][0, :, 0, 0], torch.tensor([80.09, 67.20]) / 110, atol=1e-3, rtol=0
    )
    lab = rgb_to_lab(red)
    assert network.colours[network._colour(lab)[0, 0, 0]].tolist() == [80, 70]
    assert network._grey(lab)[0, 0, 0] == 53


def test_lab_as_scikit_image_has_it():
    color = pytest.importorskip("skimage.color")
    rgb = torch.rand(2, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    rgb[0, :, 0, :8] = torch.arange(8) / 255 / 2  # the straight part of both curves
    got = rgb_to_lab(rgb).permute(0, 2, 3, 1)
    expected = torch.from_numpy(color.rgb2lab(rgb.permute(0, 2, 3, 1).double().numpy())).float()
    torch.testing.assert_close(got, expected, atol=0.02, rtol=0)


def test_colour_classes_cover_the_colours_of_screens():
    classes = colour_classes(313)
    assert len(torch.unique(classes, dim=0)) == 313 and torch.all(classes % 10 == 0)
    ab = rgb_to_lab(torch.rand(1, 3, 100, 100, generator=torch.Generator().manual_seed(0)))[0, 1:]
    offset = ab.flatten(1).T[:, None] - classes
    assert float(offset.abs().amax(2).amin(1).max()) <= 5.001  # each has its own cell


@pytest.mark.parametrize("size", [64, 128])
@pytest.mark.parametrize(
    "network",
    [
        lambda size: FabNet(size, 4, 8),
        lambda size: DeformingAutoencoder(size, 4, 8),
        lambda size: SplitBrain(size, hidden=4),
    ],
)
def test_works_at_other_sizes_and_learns_in_all_its_parts(network, size):
    network = network(size)
    images = torch.randint(0, 256, (2, 2, 3, size, size), dtype=torch.uint8)
    losses = network.losses(*images)
    assert losses.shape == (2,) and losses.isfinite().all()
    losses.sum().backward()
    assert all(p.grad is not None for p in network.parameters())
