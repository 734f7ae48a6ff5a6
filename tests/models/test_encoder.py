"""Several batches in one pass of the encoder against one pass after the other."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import get_args, get_type_hints

import pytest
import torch
from torch import Tensor

from tcae.models.batch_norm import SequentialInParts, apply_in_parts
from tcae.models.encoder import Encoder
from tcae.models.encoders import ENCODERS
from tcae.models.model_config import MODEL_PRESETS, ModelConfig
from tcae.models.twin_cycle import TwinCycle

SIDE = 32


def whole(preset: str) -> TwinCycle:
    torch.manual_seed(0)
    config = replace(MODEL_PRESETS[preset], base_filters=4, embedding_size=6, pose_size=3)
    model = TwinCycle(Encoder(config, SIDE)).double()
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:  # else batch norm begins without scale and shift
            torch.nn.init.normal_(parameter, mean=float(name.endswith("weight")))
    return model


def encoder(preset: str) -> Encoder:
    return whole(preset).encoder


def batches() -> list[Tensor]:
    """Three of different brightness and contrast, so that statistics differ."""
    torch.manual_seed(1)
    images = torch.rand(3, 4, 3, SIDE, SIDE, dtype=torch.float64)
    scale, shift = torch.tensor([[1.0, 0.3, 0.1], [0.0, 0.2, 0.7]]).double()[
        ..., None, None, None, None
    ]
    return list((images * scale + shift).requires_grad_().unbind())


def learned(model: TwinCycle, together: bool) -> tuple[list[Tensor], list[Tensor]]:
    """Embeddings, and the gradients to images and weights of a function of them."""
    images = [batch.detach().requires_grad_() for batch in batches()]
    if together:
        made = list(model.encoder(*images))
    else:
        made = [torch.cat(rows) for rows in zip(*map(model.encoder, images), strict=True)]
    torch.manual_seed(2)
    loss = sum((torch.randn_like(rows) * rows.tanh()).sum() for rows in made)
    assert isinstance(loss, Tensor)
    return made, list(torch.autograd.grad(loss, [*images, *model.encoder.parameters()]))


@pytest.mark.parametrize("preset", ["official", "default"])
def test_batches_together_are_batches_one_after_the_other(preset: str) -> None:
    one = whole(preset)
    other = deepcopy(one)
    for _ in range(2):  # also with running statistics that are not those of the start
        made, gradients = learned(one, together=True)
        wanted, others = learned(other, together=False)
        torch.testing.assert_close(made, wanted, rtol=1e-10, atol=1e-12)
        for found, true in zip(gradients, others, strict=True):
            assert (found - true).norm() <= 1e-9 * true.norm() + 1e-10
    torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=1e-12, atol=1e-12)
    assert int(next(value for name, value in one.state_dict().items() if "tracked" in name)) == 6


def test_evaluation_knows_no_parts() -> None:
    model = encoder("default").eval()
    images = batches()
    before = deepcopy(model.state_dict())
    torch.testing.assert_close(model(*images), model(torch.cat(images)), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_each_part_has_its_own_statistics() -> None:
    values = torch.tensor([[1.0, 3.0], [10.0, 30.0]]).reshape(4, 1, 1, 1)
    norm = torch.nn.BatchNorm2d(1, eps=1e-9, momentum=0.5)
    made = SequentialInParts(SequentialInParts(norm))(values, 2)
    assert made.flatten().tolist() == pytest.approx([-1, 1, -1, 1])
    # 0, then half of the way to 2, then to 20.
    assert norm.running_mean is not None and norm.running_mean.item() == 10.5
    assert float(apply_in_parts(norm, 1, values).detach().std()) == pytest.approx((4 / 3) ** 0.5)


def test_the_last_convolution_is_one_with_zeros_around() -> None:
    model = encoder("official")
    convolution = model.au_branch[-2]
    assert isinstance(convolution, torch.nn.Conv2d)
    maps = torch.randn(5, convolution.in_channels, 2, 2, dtype=torch.float64)
    wanted = torch.nn.Conv2d.forward(convolution, maps)
    assert wanted.shape == (5, 6, 1, 1)
    torch.testing.assert_close(convolution(maps), wanted, rtol=1e-12, atol=1e-12)


def test_several_batches_keep_only_what_convolutions_make_of_large_maps() -> None:
    model = encoder("official")
    kept: dict[int, torch.Size] = {}

    def note(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.shape
        return tensor

    images = [batch.detach() for batch in batches()]
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        au, _ = model(*images)
    assert list(kept.values()).count(torch.Size((4, 4, 16, 16))) == len(images)
    for _ in range(2):  # also if the graph is kept for another time
        au.sum().backward(retain_graph=True)


def test_the_choices_of_the_command_line_are_the_registry() -> None:
    choices = get_args(get_args(get_type_hints(ModelConfig, include_extras=True)["encoder"])[0])
    assert choices == tuple(ENCODERS)


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_stands_alone(name: str) -> None:
    """From bytes to decorrelated embeddings, without decoders; its passes are all that learns."""
    config = replace(MODEL_PRESETS["default"], encoder=name, base_filters=4)
    model = Encoder(config, image_size=SIDE)
    images = torch.randint(0, 256, (4, 3, SIDE, SIDE), dtype=torch.uint8)
    correlated = model.eval().correlated(images.float() / 255)
    au, pose = model(images)
    assert au.shape == (4, model.embedding_size) and pose.shape == (4, model.pose_size)
    torch.testing.assert_close(pose, correlated.pose)
    assert model.decorrelation is not None
    torch.testing.assert_close(au, model.decorrelation(*correlated))
    learning = {id(p) for part in model.passes() for p in part.parameters()}
    assert learning == {id(p) for p in model.parameters()}


def test_an_unknown_encoder_is_refused() -> None:
    config = replace(MODEL_PRESETS["default"], encoder="vit")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="encoder is 'vit', it must be one of plain, residual"):
        Encoder(config, image_size=SIDE)
