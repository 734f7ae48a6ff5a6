from __future__ import annotations

import cv2
import numpy as np
import pytest

import tcae
from tcae.data.align import DEFAULT_TEMPLATE
from tcae.data.faces import Face


@pytest.fixture
def two_faces():
    """A picture with the template's points as white spots, small and large, and their detector."""
    rgb, faces = np.zeros((300, 400, 3), np.uint8), []
    for size, left in ((60, 20), (200, 120)):
        points = DEFAULT_TEMPLATE.pixels(size) + np.array([left, 50])
        for x, y in points.round().astype(int).tolist():
            cv2.circle(rgb, (x, y), max(size // 20, 2), (255, 255, 255), -1)
        faces.append(Face(np.array([left, 50, left + size, 50 + size], float), points, 0.8))
    return rgb, lambda picture: faces if picture.shape == rgb.shape else []


def test_the_points_come_to_lie_on_the_template(two_faces):
    rgb, detector = two_faces
    faces = tcae.align_faces(rgb, size=128, detector=detector)
    assert faces.rgb.shape == (2, 128, 128, 3) and faces.rgb.dtype == np.uint8
    assert faces.boxes.tolist() == [[120, 50, 320, 250], [20, 50, 80, 110]]  # the largest first
    np.testing.assert_allclose(faces.points[0], DEFAULT_TEMPLATE.pixels(200) + np.array([120, 50]))
    assert faces.confidence.tolist() == [0.8, 0.8]
    for face in faces.rgb:
        for x, y in DEFAULT_TEMPLATE.pixels(128).round().astype(int).tolist():
            assert face[y, x].min() > 150
        assert face.mean() < 30


def test_as_an_encoder_needs_them(two_faces):
    rgb, detector = two_faces
    encoder = tcae.load_encoder("detector-64")
    faces = tcae.align_faces(rgb, encoder, detector=detector)
    assert faces.rgb.shape == (2, 64, 64, 3)
    places = (DEFAULT_TEMPLATE.pixels(80) - 8).round().astype(int)  # of 80 pixels the inner 64
    for x, y in places.tolist():
        assert faces.rgb[0, y, x].min() > 150


@pytest.mark.parametrize(
    ("picture", "options", "message"),
    [
        (np.zeros((4, 4), np.uint8), {}, r"picture: uint8 of shape \(4, 4\) came"),
        (np.zeros((4, 4, 3)), {}, "picture: float64"),
        (np.zeros((4, 4, 3), np.uint8), {"size": 0}, "size must be at least 1, not 0"),
    ],
)
def test_what_is_no_picture_is_refused(picture, options, message):
    with pytest.raises(ValueError, match=message):
        tcae.align_faces(picture, detector=lambda rgb: [], **options)
