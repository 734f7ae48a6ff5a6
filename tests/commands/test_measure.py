from __future__ import annotations

import contextlib
import json
import shutil
from types import SimpleNamespace

import pytest

from tcae import measure
from tcae.data.shard_files import PackInfo
from tcae.evaluation.agreement import BLENDSHAPES
from tcae.evaluation.disentanglement import GOALS
from tcae.evaluation.estimates import Estimate
from tcae.report.goals import goals_text


def main(run, *words: object) -> int:
    argv = ["--encoder", run, "--device", "cpu", "--cache", run.parent / "data", *words]
    return measure.main([str(word) for word in argv])


def measures_of(run) -> dict[str, Estimate]:
    """What `summary.json` tells, as it was measured."""
    summary = json.loads((run / "summary.json").read_text())
    endings = ("", "_low", "_high")
    return {
        name: Estimate(*(summary.get(name + ending, float("nan")) for ending in endings))
        for name in summary
    }


SAME = ("--unseen.people", 4, "--unseen.pairs", 3)


def test_the_figures_are_those_that_training_found(rendered_run, capsys):
    assert main(rendered_run, *SAME) == 0
    found = goals_text(measures_of(rendered_run))
    assert found in capsys.readouterr().out
    assert len(found.splitlines()) == 1 + len(GOALS) - 2  # no FAb-Net, no clips


def test_other_people_give_other_figures(rendered_run, capsys):
    figures = goals_text(measures_of(rendered_run)).splitlines()
    assert main(rendered_run, *SAME, "--unseen.seed", 1) == 0
    others = capsys.readouterr().out.splitlines()[-len(figures) :]
    assert others[0] == figures[0]
    assert all(a != b for a, b in zip(others[1:4], figures[1:4], strict=True))


@pytest.fixture
def clip(tmp_path, monkeypatch, write_video):
    """A clip of which the landmarker, replaced, tells the red; its pictures count as faces."""
    still = [name for names in BLENDSHAPES.values() for name in names]

    def look(rgb):
        scores = dict.fromkeys(still, 0.5) | {"jawOpen": rgb[..., 0].mean() / 255}
        shapes = [SimpleNamespace(category_name=k, score=v) for k, v in scores.items()]
        return SimpleNamespace(face_blendshapes=[shapes])

    monkeypatch.setattr(
        "tcae.evaluation.clips.face_landmarker", lambda: contextlib.nullcontext(look)
    )
    real = measure.agreement_on_clips
    monkeypatch.setattr(measure, "agreement_on_clips", lambda *a: real(*a, "aligned"))
    return write_video(tmp_path / "talk.mp4", 40, fps=10, size=(64, 64))


def test_clips(rendered_run, clip, capsys):
    assert main(rendered_run, *SAME, "--clips", clip) == 0
    out = capsys.readouterr().out
    lines = [line.split() for line in out.splitlines()]
    (row,) = [line for line in lines if line[:2] == ["talk", "AU26"]]
    assert row[2] == "40" and -1 <= float(row[4]) <= 1
    assert ["mean", "of", "1", row[4]] in lines
    assert out.splitlines()[-1].startswith("real clips") and f" {row[4]} " in out.splitlines()[-1]
    assert "reconstruction" in out


@pytest.fixture
def real_run(rendered_run, faces, tmp_path):
    """As if the model had been trained on real people."""
    run = shutil.copytree(rendered_run, tmp_path / "run")
    config, world = (run / "config.yaml").read_text(), rendered_run.parent / "world"
    assert str(world) in config and PackInfo.load(faces).settings == {}
    (run / "config.yaml").write_text(config.replace(str(world), str(faces)))
    return run


def test_a_model_of_real_people(real_run, clip, capsys):
    assert main(real_run) == 2
    errors = capsys.readouterr().err
    assert "trained on real people" in errors and errors.count("\n") == 1
    assert main(real_run, "--clips", clip) == 0
    out = capsys.readouterr().out
    assert "real clips" in out and "reconstruction" not in out


def test_what_cannot_be_measured_is_one_line(rendered_run, tmp_path, capsys):
    assert main(tmp_path / "none") == 2
    assert "none: no such encoder file or run directory" in capsys.readouterr().err
    assert main(rendered_run, "--clips", tmp_path / "nothing") == 2
    assert "nothing: no such file or folder" in capsys.readouterr().err
