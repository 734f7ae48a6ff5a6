from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from tcae.data.faces import Face
from tcae.editing.editor import FaceEditor
from tcae.evaluation.agreement import BLENDSHAPES

TOOL = Path(__file__).parents[2] / "tools/edit_scores/__main__.py"


@pytest.fixture(scope="module")
def tool():
    return SimpleNamespace(**runpy.run_path(str(TOOL)))


@pytest.fixture(scope="module")
def made(tool):
    """Function that makes edits of 30 sources of a clip, with the scores that a rule gives."""

    def make(rule):
        random = np.random.default_rng(0)
        scores = random.random((30, len(tool.UNITS)))
        found = []
        for source in range(30):
            for target in random.choice(30, 4, replace=False):
                wanted = scores[target] - scores[source]
                got = rule(scores[source], scores[target])
                nothing = np.zeros(3)
                found.append(tool.Edit("a", source, wanted, got, nothing, nothing, 1.0, 1.0))
        return tool.follows(found)

    return make


def test_a_perfect_edit_follows_in_full(tool, made):
    rows = made(lambda source, target: target - source)
    assert [*rows] == sorted(tool.UNITS)
    for row in rows.values():
        assert row == pytest.approx((1, 1, 1, 1))


def test_half_an_edit_follows_by_half(made):
    for row in made(lambda source, target: 0.5 * (target - source)).values():
        assert row == pytest.approx((1, 1, 1, 0.5))


def test_no_edit_follows_nothing(made):
    for row in made(lambda source, target: 0 * source).values():
        assert (row.correlation, row.within, row.share) == (0, 0, 0)


def test_one_expression_for_all_does_not_pass_for_following(made):
    """Its changes correlate, for sources differ. Within a source they do not."""
    for row in made(lambda source, target: 0.3 - source).values():
        assert row.correlation > 0.5 and row.within == 0


def test_a_unit_counts_where_it_varies(tool, made):
    still = made(lambda source, target: target - source)
    assert len(still) == len(tool.UNITS)
    edit = tool.Edit("a", 0, *[np.full(len(tool.UNITS), 0.01)] * 2, *[np.zeros(3)] * 2, 1.0, 1.0)
    assert tool.follows([edit, edit]) == {}


@pytest.mark.parametrize(
    ("axis", "sign", "place"), [((1, 0, 0), 1, 0), ((0, 1, 0), -1, 1), ((0, 0, 1), 1, 2)]
)
def test_angles(tool, axis, sign, place):
    head = cv2.Rodrigues(np.radians(20.0) * np.array(axis))[0]
    wanted = np.zeros(3)
    wanted[place] = 20
    assert np.abs(tool.angles(head)) == pytest.approx(wanted, abs=1e-6)


def test_edits_are_judged_frame_by_frame(tool, filmed, tmp_path):
    """A landmarker whose every score is a picture's brightness; an edit that is the target."""
    editor = FaceEditor.load()

    def detect(rgb):
        names = {name for shapes in BLENDSHAPES.values() for name in shapes}
        score = float(rgb.mean() / 255)
        shapes = [SimpleNamespace(category_name=name, score=score) for name in names]
        matrix = np.eye(4)
        return SimpleNamespace(face_blendshapes=[shapes], facial_transformation_matrixes=[matrix])

    shown = []
    for rgb, points in filmed(0, 5):
        shown.append(tool.Frame(editor.portrait(rgb, points), points, tool.judge(detect, rgb)))
    found = [*tool.edits("a", shown, lambda source, target: target.picture, detect, 2)]
    assert [edit.source for edit in found] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    for edit in found:
        assert edit.got == pytest.approx(edit.wanted) and np.abs(edit.wanted).max() > 0
        assert edit.got_turn == pytest.approx([0, 0, 0]) and edit.same <= 1
    kept = [*tool.edits("a", shown, lambda source, target: source.picture, detect, 2)]
    assert all(np.abs(edit.got).max() == 0 and edit.same == pytest.approx(1) for edit in kept)


def test_flows_of_what_ships_are_like_the_truth(tool):
    """Of every unit, on rendered people: the figures of docs/edit.md, but for fewer people."""
    found = tool.cosines(FaceEditor.load(), 3)
    assert np.mean([*found.values()]) > 0.65
    assert min(found[unit] for unit in ("AU04", "AU12", "AU26")) > 0.8


def test_faces_of_a_clip(tool, filmed, tmp_path, monkeypatch):
    from tcae.data.video_writer import VideoWriter

    pictures = filmed(0, 6)
    with VideoWriter(tmp_path / "a.mp4", 240, 320) as video:
        for number, (rgb, _) in enumerate(pictures):
            video.write(rgb, number / 10)
    at = pictures[0][1]
    face = Face(np.concatenate([at.min(0), at.max(0)]), at, 1.0)
    monkeypatch.setitem(tool.frames.__globals__, "UprightDetector", lambda d: d)
    monkeypatch.setitem(tool.frames.__globals__, "judge", lambda detect, rgb: "judged")
    found = tool.frames(tmp_path / "a.mp4", FaceEditor.load(), lambda rgb: [face], None, 3)
    assert len(found) == 3 and found[0].judged == "judged"
