from __future__ import annotations

import numpy as np
import pytest

from tcae.report.lettering import text_width, write
from tcae.report.overlay import FACE_COLOURS, MarkedFace, Overlay

UNITS = ["AU04", "AU12"]
NOWHERE = np.full(4, np.nan), np.full((5, 2), np.nan)


def marked(face: int, shares: list[float], present: list[bool]) -> MarkedFace:
    return MarkedFace(face, *NOWHERE, np.array(shares), np.array(present))


def of_colour(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return (np.abs(picture.astype(int) - colour) <= 8).all(-1)


@pytest.mark.parametrize(
    ("size", "picture"),
    [((240, 320), (480, 640)), ((720, 1281), (720, 1281)), ((2160, 3840), (1080, 1920))],
)
def test_the_picture_keeps_its_shape_and_videos_can_be_of_it(size, picture) -> None:
    overlay = Overlay(size, UNITS, [0])
    drawn = overlay.draw(np.full((*size, 3), (10, 200, 30), np.uint8), [])
    assert drawn.shape == (*overlay.shape, 3)
    assert not drawn.shape[0] % 2 and not drawn.shape[1] % 2
    assert (drawn.shape[0], overlay.picture_width) == picture
    assert of_colour(drawn[:, : overlay.picture_width], (10, 200, 30)).all()
    assert not of_colour(drawn[:, overlay.picture_width :], (10, 200, 30)).any()


def test_bars_are_as_long_as_their_shares() -> None:
    overlay = Overlay((480, 640), UNITS, [7, 9])
    faces = [marked(7, [1.0, 0.5], [True, True]), marked(9, [0.25, np.nan], [True, True])]
    drawn = overlay.draw(np.zeros((480, 640, 3), np.uint8), faces)
    panel = drawn[:, overlay.picture_width :]
    first, second = (of_colour(panel, colour) for colour in FACE_COLOURS[:2])
    below = 50  # the heading has letters in these colours
    lengths = [n for n in first[below:].sum(1).tolist() if n]
    whole, half = lengths[0], lengths[-1]
    assert set(lengths) == {whole, half} and half == pytest.approx(whole / 2, abs=1)
    assert second[below:].sum(1).max() == pytest.approx(whole / 4, abs=1)
    assert np.flatnonzero(second.any(0))[0] > np.flatnonzero(first.any(0))[-1]


def test_a_unit_that_is_off_is_duller() -> None:
    overlay = Overlay((480, 640), ["AU12"], [0])
    on, off = (
        overlay.draw(np.zeros((480, 640, 3), np.uint8), [marked(0, [1.0], [present])])
        for present in (True, False)
    )
    bar = of_colour(on, FACE_COLOURS[0]) & ~of_colour(off, FACE_COLOURS[0])
    assert bar.sum() > 500
    assert on[bar].mean() > off[bar].mean() + 40


def test_box_points_and_number_are_where_the_face_is() -> None:
    overlay = Overlay((480, 640), UNITS, [0])
    points = np.array([[250, 200], [350, 200], [300, 250], [260, 300], [340, 300]], float)
    face = MarkedFace(0, np.array([200, 150, 200, 240.0]), points, np.zeros(2), np.zeros(2, bool))
    drawn = overlay.draw(np.full((480, 640, 3), 255, np.uint8), [face])[:, :640]
    blue = of_colour(drawn, FACE_COLOURS[0])
    for x, y in points.astype(int):
        assert blue[y, x]
    rows, columns = np.flatnonzero(blue.any(1)), np.flatnonzero(blue.any(0))
    assert abs(columns[0] - 200) <= 2 and abs(columns[-1] - 400) <= 2 and abs(rows[-1] - 390) <= 2
    assert 100 < rows[0] < 150  # its number stands above
    assert not blue[160:380, 210:390][~disc(points - [210, 160], (220, 180))].any()


def disc(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    away = np.hypot(x[..., None] - points[:, 0], y[..., None] - points[:, 1])
    return np.asarray(away.min(-1) < 8)


@pytest.mark.parametrize("box", [(-50, -60, 900, 900), (630, 470, 300, 300), (1e9, 0, 1, 1)])
def test_a_face_at_the_edge_is_drawn_as_far_as_it_is_there(box) -> None:
    overlay = Overlay((480, 640), UNITS, [0])
    face = MarkedFace(3, np.array(box, float), NOWHERE[1], np.full(2, 7.0), np.zeros(2, bool))
    drawn = overlay.draw(np.zeros((480, 640, 3), np.uint8), [face])
    without = overlay.draw(np.zeros((480, 640, 3), np.uint8), [])
    np.testing.assert_array_equal(drawn[:, 640:], without[:, 640:])  # it has no bars


def test_letters_are_where_they_are_written_and_nowhere_else() -> None:
    picture = np.zeros((40, 200, 3), np.uint8)
    write(picture, "jaw drop", (20, 20), 18, (255, 100, 0))
    inked = picture.any(-1)
    columns = np.flatnonzero(inked.any(0))
    assert 20 <= columns[0] <= 23 and columns[-1] <= 20 + text_width("jaw drop", 18)
    assert picture.max(axis=(0, 1)).tolist() == [255, 100, 0]
    assert text_width("jaw drop jaw", 18) > text_width("jaw drop", 18) > text_width("jaw drop", 9)


@pytest.mark.parametrize("at", [(-30, 5), (190, 38), (500, 500), (-500, -500)])
def test_letters_outside_are_cut_off(at) -> None:
    picture = np.zeros((40, 200, 3), np.uint8)
    write(picture, "jaw drop", at, 18, (255, 255, 255))
