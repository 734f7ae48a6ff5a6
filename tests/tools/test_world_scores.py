from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

TOOL = Path(__file__).parents[2] / "tools/world_scores/__main__.py"


@pytest.fixture
def tool():
    return runpy.run_path(str(TOOL))


def brightness(picture):
    """Stand in for the landmarker: every score is the picture's brightness. Dark ones: no face."""
    names = (
        *("browInnerUp", "jawOpen", "mouthShrugLower", "mouthPucker", "mouthFunnel"),
        *(f"{name}{side}" for side in ("Left", "Right") for name in (
            "browOuterUp", "browDown", "eyeBlink", "eyeSquint", "eyeWide", "eyeLookDown",
            "mouthSmile", "mouthUpperUp", "mouthLowerDown", "mouthStretch", "mouthFrown",
            "mouthPress")),
    )  # fmt: skip
    score = float(picture.mean()) / 255
    shapes = [SimpleNamespace(category_name=name, score=score) for name in names]
    return SimpleNamespace(face_blendshapes=[shapes] if score > 0.02 else [])


def test_points_are_those_of_the_frames_with_a_face(tool):
    pictures = [np.full((8, 8, 3), level, np.uint8) for level in (0, 51, 102, 153, 204, 255)]
    scores = tool["_scores"](brightness, pictures)
    text = tool["_quantiles"]({"rendered": scores, "real": scores[:1]})
    lines = text.splitlines()
    assert lines[0].startswith("faces found: 5 rendered, 1 real")
    row = next(line for line in lines if line.startswith("jawOpen"))
    assert row.split() == [
        "jawOpen",
        "rendered",
        "0.28",
        "0.60",
        "0.92",
        "real",
        "0.20",
        "0.20",
        "0.20",
    ]


def test_every_unit_is_shown_by_everybody(tool):
    from tcae.data.synthetic.expression import ACTION_UNITS
    from tcae.data.synthetic.world import World

    world = World(image_size=32)
    text = tool["_responses"](brightness, [world.video(person, 0) for person in range(2)])
    rows = [line.split()[0] for line in text.splitlines()[4:]]
    assert rows[1:22] == [unit[2:] for unit in ACTION_UNITS]
    assert rows[-1] == "25+26"
