from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tcae.files.weight_file import read_weights, write_weights
from tcae.models.encoder import Encoder
from tcae.models.encoder_file import FrozenEncoder, encoder_path, load_encoder, save_encoder
from tcae.models.model_config import ModelConfig
from tcae.models.twin_cycle import TwinCycle

CONFIG = ModelConfig(base_filters=4, embedding_size=8)
TEMPLATE = {"name": "t", "points": [[0.25, 0.5]] * 5}


@pytest.fixture
def model() -> TwinCycle:
    torch.manual_seed(0)
    model = TwinCycle(Encoder(CONFIG, 32))
    model.encoder(torch.rand(8, 3, 32, 32))  # gives batch norm running statistics of its own
    return model


@pytest.fixture
def run(tmp_path: Path, model: TwinCycle) -> Path:
    save_encoder(tmp_path / "encoder.safetensors", model.encoder, TEMPLATE)
    return tmp_path


@pytest.mark.parametrize("by_file", [True, False])
def test_the_round_trip_keeps_every_bit(run: Path, model: TwinCycle, by_file: bool) -> None:
    encoder = load_encoder(encoder_path(run) if by_file else str(run))
    assert (encoder.image_size, encoder.embedding_size, encoder.pose_size) == (32, 8, 16)
    assert encoder.template == TEMPLATE
    images = torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        truth = (
            model.eval()
            .to(memory_format=torch.channels_last)
            .encoder(images.to(memory_format=torch.channels_last))
        )
    for given in (images, images.float() / 255, (images.double() / 255)):
        found = encoder.embed(given)
        torch.testing.assert_close(found.au, truth.au)
        torch.testing.assert_close(found.pose, truth.pose)
    assert torch.equal(encoder.embed(images).au, truth.au)


def test_nothing_is_learned_and_nothing_remembered(run: Path) -> None:
    encoder = load_encoder(run)
    images = torch.rand(5, 3, 32, 32)
    first = encoder.embed(images)
    assert not first.au.requires_grad
    # Evaluation mode: an image's embedding depends on no other image, before or beside it.
    torch.testing.assert_close(encoder.embed(images[:1]).au, first.au[:1])


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 3, 64, 64), (1, 1, 32, 32)])
def test_images_of_another_shape_are_refused(run: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"images: need \(N, 3, 32, 32\), got"):
        load_encoder(run).embed(torch.zeros(shape))


def test_images_of_another_type_are_refused(run: Path) -> None:
    whole = torch.zeros(1, 3, 32, 32, dtype=torch.int32)
    with pytest.raises(ValueError, match=r"images: have dtype torch\.int32, need uint8 or float"):
        load_encoder(run).embed(whole)
    with pytest.raises(TypeError, match=r"images: need a torch\.Tensor, got ndarray"):
        load_encoder(run).embed(whole.numpy())  # type: ignore[arg-type]


def test_the_fingerprint_tells_weights_apart(run: Path, model: TwinCycle) -> None:
    before = load_encoder(run).fingerprint
    assert FrozenEncoder(model.encoder, {}).fingerprint == before
    with torch.no_grad():
        next(model.encoder.parameters())[0, 0, 0, 0] += 1e-3
    assert FrozenEncoder(model.encoder, {}).fingerprint != before


@pytest.mark.parametrize("value", [True, False])
def test_a_file_with_a_retired_option_is_read_if_it_has_its_one_value(
    run: Path, value: bool
) -> None:
    path = run / "encoder.safetensors"
    description, weights = read_weights(path, "tcae-encoder")
    description["model"]["mask_tanh"] = value
    write_weights(path, description, weights)
    if value:
        assert load_encoder(path).embedding_size == 8
    else:
        with pytest.raises(ValueError, match=r"model\.mask_tanh: .* can only be True, got False"):
            load_encoder(path)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"encoder\.safetensors: not there; has the train"):
        load_encoder(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"x\.safetensors: no such encoder file"):
        load_encoder(tmp_path / "x.safetensors")


def test_damaged_and_foreign_files_are_named(run: Path) -> None:
    path = encoder_path(run)
    whole = path.read_bytes()
    for content in (b"", b"hello", whole[: len(whole) // 2], whole[:-1]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"encoder\.safetensors: damaged or not a safetensors"):
            load_encoder(path)
    for metadata in (None, {"tcae": "no json"}, {"tcae": json.dumps({"format": "other"})}):
        save_file({"w": torch.zeros(1)}, path, metadata)
        with pytest.raises(ValueError, match="a safetensors file, but not a tcae-encoder"):
            load_encoder(path)
    write_weights(path, {"format": "other"}, {})
    with pytest.raises(ValueError, match="need a tcae-encoder, got a other"):
        load_encoder(path)


def test_a_flipped_bit_anywhere_is_noticed(run: Path) -> None:
    path = encoder_path(run)
    whole = path.read_bytes()
    for place in range(8, len(whole), 997):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(ValueError, match=r"encoder\.safetensors: "):
            load_encoder(path)


def rewrite(path: Path, tensors: dict[str, torch.Tensor], **changes: Any) -> None:
    description = {
        "format": "tcae-encoder",
        "version": 1,
        "image_size": 32,
        "model": {"base_filters": 4, "embedding_size": 8},
        "template": TEMPLATE,
        "crop": 0.9,
        **changes,
    }
    write_weights(path, description, tensors)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": "32"}, "image_size: need int, got 32"),
        ({"template": None}, "template: need dict, got None"),
        ({"crop": 1.5}, r"crop: need a share in \(0, 1\], got 1.5"),
        ({"version": 2}, r"version: written by a newer tcae \(2 > 1\)"),
        ({"model": {"filters": 4}}, "model.filters: unknown field"),
        ({"model": {"base_filters": "4"}}, "model.base_filters: need int, got '4'"),
        ({"image_size": 33}, "image_size is 33"),
        ({"model": {"base_filters": 4, "embedding_size": 9}}, r"tensor .*: need shape \(9"),
    ],
)
def test_a_description_that_does_not_fit_is_named(
    run: Path, model: TwinCycle, changes: dict[str, Any], message: str
) -> None:
    path = encoder_path(run)
    rewrite(path, model.encoder.state_dict(), **changes)
    with pytest.raises(ValueError, match=rf"encoder\.safetensors: {message}"):
        load_encoder(path)


def test_a_tensor_that_is_missing_or_too_many_is_named(run: Path, model: TwinCycle) -> None:
    path = encoder_path(run)
    weights = model.encoder.state_dict()
    name = next(iter(weights))
    rewrite(path, {k: v for k, v in weights.items() if k != name})
    with pytest.raises(ValueError, match=f"tensor {name} is missing"):
        load_encoder(path)
    rewrite(path, {**weights, "extra": torch.zeros(1)})
    with pytest.raises(ValueError, match="tensor extra is unknown"):
        load_encoder(path)
