"""Architecture: counts, shapes, and a forward pass written out layer by layer."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tcae.models.encoder import Encoder, unit_range
from tcae.models.model_config import MODEL_PRESETS, ModelConfig
from tcae.models.twin_cycle import TwinCycle

SIZES = (32, 64, 128, 256)
SMALL = {"base_filters": 2, "embedding_size": 5, "pose_size": 3}


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def small(preset: str, image_size: int = 32, **changes: object) -> TwinCycle:
    torch.manual_seed(0)
    return TwinCycle(Encoder(replace(MODEL_PRESETS[preset], **(SMALL | changes)), image_size))


def test_official_has_the_released_models_parameters() -> None:
    model = TwinCycle(Encoder(MODEL_PRESETS["official"], image_size=256))
    assert count(model.encoder) == 8_035_488
    assert count(model.au_decoder) == count(model.pose_decoder) == 3_340_803
    assert count(model) == 14_717_094


def test_paper_differs_from_official_by_no_parameter() -> None:
    shapes = [
        {
            name: tensor.shape
            for name, tensor in TwinCycle(Encoder(MODEL_PRESETS[p], 256)).state_dict().items()
        }
        for p in ("paper", "official")
    ]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("preset", MODEL_PRESETS)
@pytest.mark.parametrize("size", SIZES)
def test_shapes_at_every_size(preset: str, size: int) -> None:
    model = small(preset, size).eval()
    embeddings = model.encoder(torch.rand(2, 3, size, size))
    assert embeddings.au.shape == (2, 5) and embeddings.pose.shape == (2, 3)
    for decode, embedding in (
        (model.au_motion, embeddings.au),
        (model.pose_motion, embeddings.pose),
    ):
        motion = decode(embedding, embedding.flip(0))
        assert motion.flow.shape == (2, 2, size, size)
        assert motion.logit.shape == (2, 1, size, size)
        assert motion.flow.abs().max() <= 1


@pytest.mark.parametrize("preset", MODEL_PRESETS)
def test_flow_and_logit_are_views_of_one_tensor(preset: str) -> None:
    model = small(preset)
    for decode, size in ((model.au_motion, 5), (model.pose_motion, 3)):
        flow, logit = decode(torch.rand(2, size), torch.rand(2, size))
        assert flow.data_ptr() + 2 * 32 * 32 * 4 == logit.data_ptr()
        assert flow.stride() == logit.stride() == (3 * 32 * 32, 32 * 32, 32, 1)


def batch_norm(x: Tensor) -> Tensor:
    """Batch norm in training mode, with its initial scale and shift."""
    mean = x.mean((0, 2, 3), keepdim=True)
    variance = ((x - mean) ** 2).mean((0, 2, 3), keepdim=True)
    return (x - mean) / (variance + 1e-5).sqrt()


def weights_of(module: torch.nn.Module) -> list[tuple[Tensor, Tensor]]:
    """(weight, bias) of every convolution, first to last."""
    return [
        (layer.weight, layer.bias)
        for layer in module.modules()
        if isinstance(layer, torch.nn.Conv2d)
    ]


@pytest.mark.parametrize("separate", [False, True])
def test_encoder_is_the_written_out_one(separate: bool) -> None:
    model = small("official", 64, separate_backbones=separate).double()
    encoder = model.encoder
    images = torch.rand(3, 3, 64, 64, dtype=torch.float64)
    found = model.encoder(images)
    parts = (
        (encoder.backbone, encoder.au_branch, 5, found.au),
        (encoder.pose_backbone or encoder.backbone, encoder.pose_branch, 3, found.pose),
    )
    assert (parts[0][0] is parts[1][0]) != separate
    for backbone, branch, size, embedding in parts:
        x = images
        for weight, bias in weights_of(backbone):
            x = F.leaky_relu(batch_norm(F.conv2d(x, weight, bias, stride=2, padding=1)), 0.2)
        assert x.shape == (3, 8, 8, 8)
        *blocks, (last_weight, last_bias) = weights_of(branch)
        for weight, bias in blocks:
            x = F.leaky_relu(batch_norm(F.conv2d(x, weight, bias, stride=2, padding=1)), 0.2)
        x = F.conv2d(x, last_weight, last_bias, stride=2, padding=1)
        assert x.shape == (3, size, 1, 1)
        torch.testing.assert_close(embedding, x[..., 0, 0])


def test_separate_backbones_are_two_of_the_same_make() -> None:
    one, two = small("paper"), small("paper", separate_backbones=True)
    assert count(two) - count(one) == count(one.encoder.backbone) > 0
    loss = two.encoder(torch.rand(3, 3, 32, 32)).pose.square().sum()
    loss.backward()
    reached = {name for name, p in two.encoder.named_parameters() if p.grad is not None}
    assert {name.split(".")[0] for name in reached} == {"pose_backbone", "pose_branch"}


def test_decorrelation_cleans_the_au_embedding_and_nothing_else() -> None:
    plain, clean = small("paper"), small("paper", decorrelate=True)
    added = set(clean.state_dict()) - set(plain.state_dict())
    assert all(name.startswith("encoder.decorrelation.") for name in added)
    assert count(clean) == count(plain)
    images = torch.rand(8, 3, 32, 32)
    (au, pose), (cleaned, same_pose) = plain.encoder(images), clean.encoder(images)
    assert pose.equal(same_pose) and not au.allclose(cleaned)
    centred = pose - pose.mean(0)
    charge = 0.01 * torch.diag(centred.square().sum(0))
    told = centred @ torch.linalg.solve(centred.T @ centred + charge, centred.T @ (au - au.mean(0)))
    torch.testing.assert_close(cleaned, au - told, rtol=1e-3, atol=1e-4)


def test_pose_size_is_that_of_the_pose_alone() -> None:
    for preset in ("paper", "default"):
        shapes, others = (
            {name: value.shape for name, value in small(preset, **change).state_dict().items()}
            for change in ({}, {"pose_size": 7})
        )
        changed = {name.rpartition(".")[0] for name in shapes if shapes[name] != others[name]}
        assert changed
        assert all("pose" in name or "decorrelation" in name for name in changed)


def test_pose_motion_changes_the_pose_decoder_alone() -> None:
    free, rigid = small("default", pose_motion="free"), small("default")
    assert type(free.pose_decoder) is type(free.au_decoder) is not type(rigid.pose_decoder)
    for part in ("encoder", "au_decoder"):
        expected = getattr(free, part).state_dict()
        found = getattr(rigid, part).state_dict()
        assert all(found[name].equal(value) for name, value in expected.items())


def doubled(x: Tensor) -> Tensor:
    """Bilinear up-sampling by two, half-pixel centres: 3/4 of the near pixel, 1/4 of the next."""
    for dim in (2, 3):
        size = x.shape[dim]
        before = x.index_select(dim, torch.arange(size).sub(1).clamp(min=0))
        after = x.index_select(dim, torch.arange(size).add(1).clamp(max=size - 1))
        near = 0.75 * x
        x = torch.stack([near + 0.25 * before, near + 0.25 * after], dim + 1).flatten(dim, dim + 1)
    return x


@pytest.mark.parametrize("leading_relu", [False, True])
def test_decoder_is_the_written_out_one(leading_relu: bool) -> None:
    model = small("official", leading_relu=leading_relu).double()
    source, target = torch.randn(2, 3, 3, dtype=torch.float64)
    x = torch.cat([source, target], 1)[..., None, None]
    if leading_relu:
        x = x.clamp(min=0)
    *blocks, (last_weight, last_bias) = weights_of(model.pose_decoder)
    for weight, bias in blocks:
        x = batch_norm(F.conv2d(doubled(x), weight, bias, padding=1)).clamp(min=0)
    x = F.conv2d(doubled(x), last_weight, last_bias, padding=1)
    flow, logit = model.pose_motion(source, target)
    torch.testing.assert_close(flow, x[:, :2].tanh())
    torch.testing.assert_close(logit, x[:, 2:].tanh())


def test_widths_of_the_decoder() -> None:
    model = TwinCycle(Encoder(replace(MODEL_PRESETS["official"], embedding_size=256), 256))
    widths = [weight.shape[:2] for weight, _ in weights_of(model.au_decoder)]
    chain = (512, 256, 256, 256, 256, 128, 64, 32, 3)
    assert widths == [(outputs, inputs) for inputs, outputs in pairwise(chain)]


def test_conv_bias_adds_biases_and_nothing_else() -> None:
    def names(bias: bool) -> set[str]:
        return set(small("default", conv_bias=bias).state_dict())

    assert names(True) > names(False)
    assert all(name.endswith(".bias") for name in names(True) - names(False))
    with_bias = small("paper")
    before_norm = sum(m.num_features for m in with_bias.modules() if hasattr(m, "num_features"))
    assert count(with_bias) - count(small("paper", conv_bias=False)) == before_norm


@pytest.mark.parametrize("start", [2, 4, 16])
def test_decoder_start_is_fully_connected(start: int) -> None:
    model = small("default", decoder_start=start).double().eval()
    linear = next(m for m in model.au_decoder.modules() if isinstance(m, torch.nn.Linear))
    source, target = torch.randn(2, 3, 5, dtype=torch.float64)
    first = torch.cat([source, target], 1) @ linear.weight.T
    channels = 2 * min(32 // (2 * start), 8)
    found = model.au_decoder.start(torch.cat([source, target], 1))
    expected = (first / (1 + 1e-5) ** 0.5).clamp(min=0).view(3, channels, start, start)
    torch.testing.assert_close(found, expected)
    assert model.au_motion(source, target).flow.shape == (3, 2, 32, 32)


@pytest.mark.parametrize(("motion", "kinds"), [("free", ("au", "pose")), ("rigid", ("au",))])
def test_zero_init_is_the_identity_and_changes_nothing_else(
    motion: str, kinds: tuple[str, ...]
) -> None:
    """A rigid pose decoder starts as the identity in any case."""
    on, off = (small("default", zero_init=zero, pose_motion=motion) for zero in (True, False))
    others = off.state_dict()
    changed = {name for name, value in on.state_dict().items() if not value.equal(others[name])}
    assert changed == {
        f"{kind}_decoder.motion.1.{part}" for kind in kinds for part in ("weight", "bias")
    }
    for decode, size in ((on.au_motion, 5), (on.pose_motion, 3)):
        flow, logit = decode(torch.randn(2, size), torch.randn(2, size))
        assert not flow.any() and not logit.any()


@pytest.mark.parametrize("size", [0, 16, 33, 100, 255, -64])
def test_wrong_image_size_is_named(size: int) -> None:
    with pytest.raises(ValueError, match=rf"image_size is {size}, .*multiple of 16"):
        TwinCycle(Encoder(ModelConfig(), size))


@pytest.mark.parametrize("shape", [(2, 3, 64, 64), (2, 1, 32, 32), (3, 32, 32), (2, 3, 32, 16)])
def test_images_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="image_size = 32"):
        small("default").encoder(torch.rand(shape))


@pytest.mark.parametrize(
    "change",
    [{"base_filters": 0}, {"embedding_size": -1}, {"pose_size": 0}, {"decoder_start": 3}],
)
def test_impossible_configs_are_refused(change: dict[str, int]) -> None:
    (name,) = change
    with pytest.raises(ValueError, match=name):
        ModelConfig(**change)


def test_uint8_is_read_as_value_over_255() -> None:
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    model = small("default").eval()
    torch.testing.assert_close(model.encoder(images), model.encoder(images.float() / 255))
    floats = torch.rand(2, 3, 4, 4, dtype=torch.float64)
    assert unit_range(floats) is floats
