from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcae.data.align import (
    DEFAULT_TEMPLATE,
    AlignmentTemplate,
    align,
    share_outside,
    similarity,
)

POINTS = DEFAULT_TEMPLATE.pixels(100)


def moved(points, angle, scale, shift):
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return scale * points @ turn.T + shift


@given(st.floats(-3.1, 3.1), st.floats(0.05, 20), st.floats(-500, 500), st.floats(-500, 500))
def test_similarity_recovers_an_exact_one(angle, scale, x, y):
    matrix = similarity(POINTS, moved(POINTS, angle, scale, np.array([x, y])))
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    assert np.allclose(matrix, [[cos, -sin, x], [sin, cos, y]], atol=1e-6)


@given(st.integers(0, 2**32 - 1))
def test_similarity_is_the_least_squares_solution(seed):
    random = np.random.default_rng(seed)
    source, target = random.normal(size=(2, 5, 2)) * 30
    # Independent statement: x' = a x - b y + tx, y' = b x + a y + ty is linear in (a, b, tx, ty).
    rows = [[[x, -y, 1, 0], [y, x, 0, 1]] for x, y in source]
    a, b, tx, ty = np.linalg.lstsq(np.array(rows).reshape(10, 4), target.ravel(), rcond=None)[0]
    assert np.allclose(similarity(source, target), [[a, -b, tx], [b, a, ty]], atol=1e-6)


def picture_of(points, height, width):
    """Bright Gaussian blobs of 3 pixels at the points."""
    y, x = np.mgrid[:height, :width]
    blobs = [np.exp(-((x - px) ** 2 + (y - py) ** 2) / 18) for px, py in points]
    return np.repeat((255 * np.clip(sum(blobs), 0, 1)).astype(np.uint8)[..., None], 3, 2)


@pytest.mark.parametrize("size", [32, 64, 256])
@pytest.mark.parametrize(("angle", "scale"), [(0, 1.0), (0.5, 1.7), (-2.0, 0.8)])
def test_points_come_to_lie_on_the_template(size, angle, scale):
    points = moved(POINTS - 50, angle, scale, np.array([160, 120]))
    aligned = align(picture_of(points, 240, 320), points, DEFAULT_TEMPLATE, size)
    assert aligned.shape == (size, size, 3)
    assert aligned.dtype == np.uint8
    y, x = np.mgrid[:size, :size]
    for px, py in DEFAULT_TEMPLATE.pixels(size):
        near = np.where(np.hypot(x - px, y - py) < 0.09 * size, aligned[..., 0].astype(float), 0)
        centre = np.array([(near * x).sum(), (near * y).sum()]) / near.sum()
        assert np.allclose(centre, [px, py], atol=0.35)


def test_shrinking_is_anti_aliased():
    stripes = np.zeros((800, 800, 3), np.uint8)
    stripes[:, ::2] = 255  # finer than the result can show
    points = DEFAULT_TEMPLATE.pixels(700) + 37.3
    aligned = align(stripes, points, DEFAULT_TEMPLATE, 64)
    assert np.abs(aligned[4:-4, 4:-4].astype(int) - 127).max() < 10


def test_outside_of_the_picture_repeats_its_border():
    rgb = np.full((40, 40, 3), 200, np.uint8)
    assert (align(rgb, POINTS * 0.3 + 25, DEFAULT_TEMPLATE, 48) == 200).all()
    assert (align(rgb, POINTS + 5000, DEFAULT_TEMPLATE, 48) == 200).all()


def test_template_covers_brows_and_an_open_jaw():
    # In the 112 pixel crop a raised brow is at about 38, the chin of an open jaw at about 128.
    left_eye_y, mouth_y = DEFAULT_TEMPLATE.points[0][1], DEFAULT_TEMPLATE.points[3][1]
    unit = (mouth_y - left_eye_y) / (92.3655 - 51.6963)
    assert left_eye_y - (51.7 - 38) * unit > 0.15
    assert mouth_y + (128 - 92.4) * unit < 0.85


def test_pixel_coordinates_count_from_the_first_pixels_centre():
    corners = AlignmentTemplate(((0, 0), (1, 1), (0.5, 0.5), (0.25, 0), (0, 0.25)))
    expected = [[-0.5, -0.5], [7.5, 7.5], [3.5, 3.5], [1.5, -0.5], [-0.5, 1.5]]
    assert corners.pixels(8).tolist() == expected


def test_template_survives_json():
    assert AlignmentTemplate.from_dict(DEFAULT_TEMPLATE.to_dict()) == DEFAULT_TEMPLATE


@pytest.mark.parametrize(
    "fields", [{}, {"name": "x", "points": [[0, 1]]}, {"name": "x", "points": 3}, {"points": []}]
)
def test_foreign_template_is_refused(fields):
    with pytest.raises(ValueError, match="template"):
        AlignmentTemplate.from_dict(fields)


def test_degenerate_points_are_refused():
    with pytest.raises(ValueError, match="one spot"):
        similarity(np.ones((5, 2)), POINTS)
    with pytest.raises(ValueError, match="finite"):
        similarity(np.full((5, 2), np.nan), POINTS)


@pytest.mark.parametrize("angle", [0.0, np.pi / 2, np.pi])
@pytest.mark.parametrize(
    ("shift", "share"), [((10, 20), 0), ((-50, 20), 0.5), ((150, 150), 0.75), ((500, 0), 1)]
)
def test_what_of_an_aligned_face_is_not_in_the_picture(angle, shift, share):
    """The aligned face is the square from `shift` on, 100 pixels wide, of a picture of 200."""
    middle = np.full(2, 49.5)
    points = moved(POINTS - middle, angle, 1.0, middle + np.array(shift))
    assert share_outside(points, DEFAULT_TEMPLATE, 200, 200) == pytest.approx(share, abs=0.04)


def test_a_picture_is_as_wide_as_it_is_high_only_if_it_is():
    assert share_outside(POINTS + np.array([100, 0]), DEFAULT_TEMPLATE, 100, 200) == 0
    assert share_outside(POINTS + np.array([0, 100]), DEFAULT_TEMPLATE, 100, 200) == 1
