from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from tcae.data.align import DEFAULT_TEMPLATE
from tcae.data.crops import Crop, CroppedFrame
from tcae.data.faces import Face
from tcae.evaluation.remarks import Remarks

POINTS = DEFAULT_TEMPLATE.pixels(100)
UPSIDE_DOWN = 100 - POINTS


def crop(points=POINTS, outside=0.0) -> Crop:
    return Crop("0", 0, 0.0, Face(np.zeros(4), points, 1.0), np.zeros((4, 4, 3)), outside)


def remarks(*frames: list[Crop], on: int = 0) -> Remarks:
    """Of frames with these faces, in so many of which AU04 is on."""
    found = Remarks()
    for number, crops in enumerate(frames):
        assert found.see(CroppedFrame(number, 0.0, crops)).crops is crops
    rows = [[k, int(k < on), 0.9] for k in range(len(frames))]
    found.read(["frame", "AU04_c", "AU04_p"], rows)
    return found


def test_nothing_odd():
    assert list(remarks(*[[crop(outside=0.2)]] * 60, on=50).lines(1)) == []
    assert list(Remarks().lines(0)) == []


@pytest.mark.parametrize(
    ("frames", "people", "line"),
    [
        ([[crop()]] * 8 + [[]] * 2, 1, "no face in 2 of 10 frames"),
        ([[crop()], [crop(), crop()]], 3, "3 faces, at most 2 at once; face_id tells them apart"),
        ([[crop(UPSIDE_DOWN)]] * 3 + [[crop()]], 1, "75% of the faces do not stand upright"),
        ([[crop(outside=0.3)]] + [[crop()]] * 3, 1, "25% of the faces leave the picture"),
    ],
)
def test_one_line_for_what_is_odd(frames, people, line):
    (found,) = remarks(*frames).lines(people)
    assert found.startswith(line)


@pytest.mark.parametrize(
    ("frames", "on", "told"), [(60, 57, True), (60, 56, False), (49, 49, False)]
)
def test_a_unit_that_is_always_on(frames, on, told):
    lines = list(remarks(*[[crop()]] * frames, on=on).lines(1))
    assert bool(lines) == told
    if told:
        assert lines[0].startswith("AU04 on in 95% of the faces or more")


def test_counting_can_be_gone_on_with():
    half = remarks(*[[crop()]] * 30, on=30)
    again = Remarks(**asdict(half))
    for k in range(30):
        again.see(CroppedFrame(k, 0.0, [crop()]))
    again.read(["AU04_c"], [[1]] * 30)
    assert asdict(again) == asdict(remarks(*[[crop()]] * 60, on=60))
