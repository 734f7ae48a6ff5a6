from __future__ import annotations

import numpy as np
import pytest

from tcae.data.align import DEFAULT_TEMPLATE
from tcae.data.face_looks import agreement, look_of


def test_light_and_size_and_tilt_hardly_matter(filmed):
    rgb, points = filmed(0, 8)[0]
    look = look_of(rgb, points)
    assert look.shape == (3888,)
    assert agreement([look], look) == pytest.approx(1)
    dark = (rgb * 0.6).astype(np.uint8)
    assert agreement([look], look_of(dark, points)) > 0.9
    large = rgb.repeat(2, 0).repeat(2, 1)
    assert agreement([look], look_of(large, points * 2 + 0.5)) > 0.9
    fallen = np.stack([points[:, 1], 319 - points[:, 0]], 1)  # a quarter turn against the clock
    assert agreement([look], look_of(np.rot90(rgb), fallen)) > 0.9


def test_people_differ(filmed):
    looks = [[look_of(*frame) for frame in filmed(person, 8)] for person in range(4)]
    for k, mine in enumerate(looks):
        others = [look for theirs in looks[:k] + looks[k + 1 :] for look in theirs]
        same = [agreement(mine[:4], look) for look in mine[4:]]
        assert np.mean(same) > max(agreement(mine[:4], look) for look in others)


def test_the_best_of_several_counts(filmed):
    one, two = (look_of(*filmed(person, 8)[0]) for person in (0, 1))
    assert agreement([one, two], two) == pytest.approx(1)


@pytest.mark.parametrize("points", [np.zeros((5, 2)), np.full((5, 2), np.nan)])
def test_no_points_no_look(points):
    assert look_of(np.zeros((40, 40, 3), np.uint8), points) is None


def test_a_face_of_one_colour_has_a_look():
    rgb = np.full((64, 64, 3), 7, np.uint8)
    look = look_of(rgb, DEFAULT_TEMPLATE.pixels(64))
    assert look.dtype == np.int8 and np.isfinite(agreement([look], look))
