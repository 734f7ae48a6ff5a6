"""Random changes of images: how large, how different, and that a face can still be recognised."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tcae.objectives.augmentation import augment


def images() -> Tensor:
    """Smooth pictures, each another."""
    coarse = torch.rand(6, 3, 4, 4, generator=torch.Generator().manual_seed(2))
    return torch.nn.functional.interpolate(coarse, 32, mode="bicubic").clamp(0, 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_augmentation_keeps_shape_and_type_and_follows_the_seed(dtype: torch.dtype) -> None:
    faces = images().to(dtype)
    untouched = faces.clone()
    torch.manual_seed(1)
    one, next_one = augment(faces), augment(faces)
    torch.manual_seed(1)
    again = augment(faces)
    assert one.shape == faces.shape and one.dtype == dtype
    assert one.equal(again) and not one.equal(next_one) and faces.equal(untouched)


def test_each_image_is_changed_differently_but_to_be_recognised() -> None:
    torch.manual_seed(3)
    face = images()[:1]
    copies = augment(face.expand(64, -1, -1, -1))
    assert min(float((copies[i] - copies[i + 1]).abs().mean()) for i in range(63)) > 0.01
    # Brightness goes up and down alike: .08 of each channel, and contrast about the middle.
    shift = (copies.mean((2, 3)) - face.mean((2, 3))).numpy()
    assert abs(shift.mean()) < 0.03 and 0.05 < shift.std() < 0.13
    others = images()[1:]
    for copy in augment(face.expand(8, -1, -1, -1)):
        close = centred(copy[None], face)
        assert all(close > centred(copy[None], other[None]) for other in others)


def centred(a: Tensor, b: Tensor) -> float:
    a, b = (image - image.mean((2, 3), keepdim=True) for image in (a, b))
    return float((a * b).sum() / a.norm() / b.norm())


def test_augmentation_moves_a_point_as_a_small_similarity_would() -> None:
    """Red tells x and green y, so that their slopes tell how an image was turned and scaled."""
    side = torch.linspace(-1, 1, 64, dtype=torch.float64)
    y, x = torch.meshgrid(side, side, indexing="ij")
    ramps = torch.stack([x, y, torch.zeros_like(x)]) / 4 + 0.5
    torch.manual_seed(4)
    found = augment(ramps.expand(256, -1, -1, -1))
    inner = found[:, :, 16:48, 16:48]
    # A straight line through each image: its slopes are contrast times (1 + zoom, -+turn).
    design = torch.stack([x, y, torch.ones_like(x)], -1)[16:48, 16:48].reshape(-1, 3)
    slopes = torch.linalg.pinv(design) @ (inner[:, :2].flatten(2).mT * 4)
    along_x, along_y = slopes[:, 0, 0], slopes[:, 1, 1]
    turned_x, turned_y = slopes[:, 1, 0], slopes[:, 0, 1]
    # Noise leaves some .02.
    assert (along_x - along_y).abs().max() < 0.1 and (turned_x + turned_y).abs().max() < 0.1
    assert (turned_x - turned_y).abs().max() > 0.2
    turn = turned_y / along_x
    assert 0.03 < turn.std() < 0.05 and turn.mean().abs() < 0.01
    strength = along_x.log()
    assert 0.15 < strength.std() < 0.26 and strength.mean().abs() < 0.05
