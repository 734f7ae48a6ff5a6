from __future__ import annotations

import torch

from tcae.methods.strong_augmentation import _covered, _greyed, _lit, strongly_augment


def test_every_image_changes_and_stays_one():
    torch.manual_seed(0)
    images = torch.rand(32, 3, 32, 32)
    changed = strongly_augment(images)
    assert changed.shape == images.shape and bool(changed.isfinite().all())
    assert bool(((changed - images).abs().mean((1, 2, 3)) > 0.02).all())


def test_the_same_seed_gives_the_same_images():
    images = torch.rand(4, 3, 32, 32)
    torch.manual_seed(1)
    first = strongly_augment(images)
    torch.manual_seed(1)
    assert torch.equal(first, strongly_augment(images))


def test_a_rectangle_of_one_colour_covers_three_in_ten():
    torch.manual_seed(0)
    images = torch.zeros(400, 3, 32, 32)
    covered = _covered(images - 1) + 1
    touched = covered.amax((1, 2, 3)) > 0
    assert 0.2 < float(touched.float().mean()) < 0.4
    for image in covered[touched][:20]:
        inside = image.amax(0) > 0
        rows, columns = (inside.any(axis) for axis in (1, 0))
        assert torch.equal(inside, rows[:, None] & columns[None])
        assert len(image[:, inside].unique(dim=1).T) == 1
        assert int(rows.sum()) <= 12 and int(columns.sum()) <= 12


def test_grey_images_have_three_equal_channels():
    torch.manual_seed(0)
    greyed = _greyed(torch.rand(200, 3, 8, 8))
    grey = (greyed - greyed.mean(1, keepdim=True)).abs().amax((1, 2, 3)) < 1e-6
    assert 0.05 < float(grey.float().mean()) < 0.25


def test_light_changes_slowly_across_a_face():
    torch.manual_seed(0)
    lit = _lit(torch.full((64, 3, 32, 32), 0.5))
    assert float(lit.std((1, 2, 3)).max()) > 0.05  # some are uneven
    assert float((lit[..., 1:] - lit[..., :-1]).abs().max()) < 0.1
