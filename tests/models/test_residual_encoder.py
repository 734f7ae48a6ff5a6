"""The residual encoder against its definition, in one pass, in several, and exported."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tcae.models.encoder import Encoder
from tcae.models.model_config import ModelConfig

WIDTHS = {32: (4, 8, 16), 128: (4, 8, 16, 32, 32)}  # of the levels, by the image's side


def encoder(side: int = 32, separate: bool = True, bias: bool = False) -> Encoder:
    """One with any weights and running statistics."""
    torch.manual_seed(0)
    config = ModelConfig(
        encoder="residual", base_filters=4, embedding_size=6, pose_size=3, decorrelate=False,
        separate_backbones=separate, conv_bias=bias,
    )  # fmt: skip
    model = Encoder(config, side).double()
    for name, value in model.state_dict().items():
        if value.ndim == 1:  # else batch norm begins without scale and shift
            value.copy_(torch.rand_like(value) + float("bias" not in name) / 2)
    return model


def batches(side: int = 32) -> list[Tensor]:
    """Two of different brightness and contrast, so that statistics differ."""
    torch.manual_seed(1)
    bright, dark = torch.rand(2, 4, 3, side, side, dtype=torch.float64)
    return [bright, dark * 0.3 + 0.1]


def defined(model: Encoder, images: Tensor, side: int) -> Tensor:
    """The AU embedding in eval mode, step by step, from the weights in their order."""
    state = {**model.backbone.state_dict(prefix="a."), **model.au_branch.state_dict(prefix="b.")}
    left = iter(value for name, value in state.items() if "num_batches" not in name)

    def normalised(maps: Tensor, stride: int) -> Tensor:
        maps = F.conv2d(maps, next(left), stride=stride, padding=1)
        scale, shift, mean, variance = (next(left)[:, None, None] for _ in range(4))
        return (maps - mean) / (variance + 1e-5).sqrt() * scale + shift

    maps = images
    for level, width in enumerate(WIDTHS[side]):
        if level < 2:
            maps = F.leaky_relu(normalised(maps, 2), 0.2)
        else:
            residual = normalised(F.leaky_relu(normalised(maps, 2), 0.2), 1)
            past = torch.einsum("oi,nihw->nohw", next(left)[..., 0, 0], F.avg_pool2d(maps, 2))
            maps = F.leaky_relu(residual + past, 0.2)
        assert maps.shape[1:] == (width, side >> (level + 1), side >> (level + 1))
    embedding = maps.flatten(1) @ next(left).T + next(left)
    assert next(left, None) is None
    return embedding


@pytest.mark.parametrize("side", WIDTHS)
def test_embeddings_are_those_of_the_definition(side: int) -> None:
    model, images = encoder(side).eval(), batches(side)[0]
    au, pose = model(images)
    assert au.shape == (4, 6) and pose.shape == (4, 3)
    torch.testing.assert_close(au, defined(model, images, side), rtol=1e-9, atol=1e-9)


def test_size_of_the_default() -> None:
    """Convolutions, batch norms and the linear layer, counted by hand."""
    levels = 48 * 16 + 256 * 32 + 2 * (16 + 32)
    levels += sum(9 * n * n // 2 + 9 * n * n + n * n // 2 + 4 * n for n in (64, 128))
    model = Encoder(ModelConfig(encoder="residual"), 64)
    linear = 2048 * (128 + 16) + 128 + 16
    assert sum(p.numel() for p in model.parameters()) == 2 * levels + linear


@pytest.mark.parametrize("separate", [True, False])
def test_batches_together_are_batches_one_after_the_other(separate: bool) -> None:
    one = encoder(separate=separate, bias=True).train()
    other = deepcopy(one)
    made = one(*batches())
    wanted = [torch.cat(rows) for rows in zip(*map(other, batches()), strict=True)]
    torch.testing.assert_close(list(made), wanted, rtol=1e-10, atol=1e-12)
    for embeddings in (made, wanted):
        torch.stack([rows.tanh().sum() for rows in embeddings]).sum().backward()
    for found, true in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(found.grad, true.grad, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("separate", [True, False])
def test_only_a_shared_backbone_learns_from_both(separate: bool) -> None:
    model = encoder(separate=separate)
    model(*batches())[1].sum().backward()
    learned = any(p.grad is not None for p in model.backbone.parameters())
    assert learned != separate
    assert all(p.grad is None for p in model.au_branch.parameters())


def test_exported_for_any_number_of_images() -> None:
    model = encoder().eval()
    count = torch.export.Dim("count", min=1, max=64)
    shapes = {"images": ({0: count},)}
    exported = torch.export.export(model, (batches()[0],), dynamic_shapes=shapes)
    images = torch.cat(batches())[:7]
    torch.testing.assert_close(
        tuple(exported.module()(images)), tuple(model(images)), rtol=1e-10, atol=1e-12
    )
