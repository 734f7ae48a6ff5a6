"""The tool that fits readers of head pose and confidence; the parts of it that take no hours."""

from __future__ import annotations

import importlib
from pathlib import Path

import cv2
import numpy as np
import pytest

TOOL = Path(__file__).parents[2] / "tools/ship_weights"


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOL))
    return importlib.import_module


def test_a_section_takes_the_place_of_an_earlier_one(tool):
    readers = tool("readers")
    card = "# name\n\n## Data\n\nmuch\n\n## Limits\n\nmany\n"
    section = f"{readers.HEADING}\n\n{{}}\n"
    once = readers.with_section(card, section.format("one"))
    assert once == card.replace("## Limits", section.format("one") + "\n## Limits")
    assert readers.with_section(once, section.format("two")) == once.replace("one", "two")


@pytest.mark.parametrize("way", ["small", "blurred", "dark", "noisy", "covered", "cut"])
def test_each_way_spoils_a_picture_the_more_the_harder(tool, way):
    """Told by the fine detail of the whole, as the difference from the picture itself."""
    spoil = tool("spoiling").WAYS[way]
    rgb = np.random.default_rng(0).integers(60, 200, (128, 128, 3), dtype=np.uint8)
    lost = []
    for hard in (0.0, 1.0):
        spoiled = spoil(rgb, hard, np.random.default_rng(1))
        assert spoiled.dtype == np.uint8 and spoiled.ndim == 3
        back = cv2.resize(spoiled, (128, 128), interpolation=cv2.INTER_NEAREST)
        lost.append(float(np.abs(back.astype(float) - rgb).mean()))
    assert 0 < lost[0] <= lost[1] + 1 if way in ("small", "cut") else 0 < lost[0] < lost[1]


def test_portraits_show_a_head_from_two_sides_and_are_kept(tool, tmp_path):
    from tcae.data.pictures import decode_image
    from tcae.data.synthetic.world import World

    portraits = tool("portraits")
    made = portraits.portraits(World(seed=4), 1, 9, tmp_path)
    again = portraits.portraits(World(seed=4), 1, 9, tmp_path)
    assert made.jpeg == again.jpeg and len(made.jpeg) == len(made.frontal) == len(made.pose) == 6
    assert decode_image(made.frontal[0]).shape == (portraits.SIDE, portraits.SIDE, 3)
    assert made.frontal[0] != made.jpeg[0] and np.abs(made.pose).max() > 5
