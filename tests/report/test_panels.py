from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tcae.objectives.twin_cycle import Pictures
from tcae.report.panels import (
    Column,
    colour_wheel,
    flow_colours,
    pair_panel,
    pair_pictures,
    panel,
)

# What the published colour wheel shows for unit vectors (x right, y down): the pure hues lie at
# 0, 15, 21, 25, 36 and 49 of 55 places, counted clockwise from the right.
HUES = {0: (255, 0, 0), 15: (255, 255, 0), 21: (0, 255, 0), 25: (0, 255, 255), 36: (0, 0, 255)}
HUES[49] = (255, 0, 255)


def colour_of(x: float, y: float, longest: float = 1.0) -> tuple[int, ...]:
    return tuple(map(int, flow_colours(np.full((2, 1, 1), [[[x]], [[y]]]), longest)[0, 0]))


@pytest.mark.parametrize("place", list(HUES))
def test_known_directions_have_known_colours(place: int) -> None:
    angle = 2 * np.pi * place / 55
    near = np.array(colour_of(0.9999 * np.cos(angle), 0.9999 * np.sin(angle)))
    assert np.abs(near - HUES[place]).max() <= 1


def test_directions_in_words() -> None:
    red, yellow = colour_of(1, 0), colour_of(0, 1)
    assert red == (255, 0, 0)
    assert yellow[0] > 200 and yellow[1] > 200 and yellow[2] == 0  # down
    left, up = colour_of(-1, 0), colour_of(0, -1)
    assert left[0] == 0 and left[2] == 255
    assert up[1] == 0 and up[2] == 255


def test_length_is_saturation() -> None:
    assert colour_of(0, 0) == (255, 255, 255)
    assert colour_of(0.5, 0) == (255, 128, 128)
    assert colour_of(2, 0, longest=4.0) == (255, 128, 128)
    assert colour_of(2, 0) == (191, 0, 0)  # longer than full: darker, and never wrapped around


@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
def test_scaling_flow_and_scale_together_changes_nothing(x: float, y: float, by: float) -> None:
    a, b = colour_of(x, y, 10.0), colour_of(x * by, y * by, 10.0 * by)
    on_the_edge = abs(np.hypot(x, y) - 10) < 1e-6
    assert on_the_edge or np.abs(np.subtract(a, b)).max() <= 1


def test_batches_and_what_is_not_finite() -> None:
    flow = np.random.default_rng(0).normal(size=(3, 2, 4, 5))
    assert flow_colours(flow, 1.0).shape == (3, 4, 5, 3)
    np.testing.assert_array_equal(flow_colours(flow, 1.0)[1], flow_colours(flow[1], 1.0))
    assert colour_of(np.nan, np.nan) == (255, 255, 255)


@pytest.mark.parametrize(
    ("shape", "longest", "message"),
    [((3, 4, 4), 1.0, "flow: need"), ((4, 4), 1.0, "flow: need"), ((2, 4, 4), 0.0, "longest")],
)
def test_wrong_flows_are_refused(shape: tuple[int, ...], longest: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        flow_colours(np.zeros(shape), longest)


def test_the_key_shows_each_direction_where_it_points() -> None:
    wheel = colour_wheel(101)
    assert tuple(wheel[50, 50]) == (255, 255, 255)
    assert tuple(wheel[50, 100]) == (255, 0, 0)
    assert tuple(wheel[100, 50]) == colour_of(0, 1)
    assert tuple(wheel[0, 0]) == (255, 255, 255)  # outside the disc


@pytest.mark.parametrize("side", [32, 160])
def test_a_panel_shows_each_picture_in_its_cell(side: int) -> None:
    torch.manual_seed(0)
    shades = torch.arange(2).view(2, 1, 1, 1).float() / 2 + 0.25
    grey = shades.expand(2, 3, side, side)
    flow = torch.zeros(2, 2, side, side)
    flow[:, 0] = 0.1
    pictures = Pictures(
        reconstruction=grey * 0, au_changed=grey, pose_changed=grey + 9, au_flow=flow,
        pose_flow=-flow, au_mask=torch.zeros(2, 1, side, side),
        pose_mask=torch.ones(2, 1, side, side),
    )  # fmt: skip
    result = pair_panel((grey * 255).byte(), grey, pictures)
    cell = max(side, 128) + 4
    assert result.dtype == np.uint8
    assert result.shape == (40 + 2 * cell, 9 * cell, 3)
    middle = [[tuple(map(int, result[40 + cell // 2 + row * cell, cell // 2 + i * cell]))
               for i in range(9)] for row in range(2)]  # fmt: skip
    for row, level in zip(middle, (64, 191), strict=True):
        assert max(abs(c - level) for cells in row[:2] for c in cells) <= 1
        assert row[2] == (0, 0, 0)
        assert row[4] == (255, 255, 255)  # clipped, not wrapped around
        assert row[5] == (255, 0, 0)
        assert row[6][0] == 0 and row[6][2] == 255
        assert row[7] == (0, 0, 0)
        assert row[8] == (255, 255, 255)


def test_flows_that_are_not_blended_have_no_masks() -> None:
    grey, flow = torch.full((2, 3, 160, 160), 0.5), torch.full((2, 2, 160, 160), 0.1)
    made = Pictures(grey, grey * 0, grey * 2, flow, -flow, au_mask=None, pose_mask=None)
    assert pair_panel(grey, grey, made).shape == (40 + 2 * 164, 7 * 164, 3)
    masked = made._replace(au_mask=grey[:, :1] * 0, pose_mask=grey[:, :1] * 2)
    assert (pair_panel(grey, grey, masked)[:, : 7 * 164] == pair_panel(grey, grey, made)).all()
    columns = [set(pair_pictures(grey, grey, pictures, None)[0]) for pictures in (made, masked)]
    assert columns[1] - columns[0] == {"AU mask", "pose mask"} and columns[0] < columns[1]


def test_titles_are_written_over_the_columns() -> None:
    blank = np.full((1, 32, 32, 3), 255, np.uint8)
    bare, titled = panel([Column("", "", blank)]), panel([Column("source", "note", blank)])
    assert (bare == 255).all()
    assert (titled[:20] < 100).any() and (titled[20:40] < 100).any()
    assert (titled[40:] == 255).all()
    picture = panel([Column("", "", blank, has_key=True)])
    assert (picture[4:36, 96:128] == colour_wheel(32)).all()
