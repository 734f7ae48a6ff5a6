from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tcae import edit
from tcae.data.faces import Face
from tcae.data.video import read_frames
from tcae.data.video_writer import VideoWriter
from tcae.editing.editor import FaceEditor


@pytest.fixture
def known(monkeypatch, filmed):
    """Rendered people as files; a detector that knows their points, by the picture's mean."""
    points = {}

    def detect(rgb: np.ndarray) -> list[Face]:
        if rgb.std() < 1:
            return []
        nearest = min(points, key=lambda mean: np.abs(np.array(mean) - rgb.mean((0, 1))).sum())
        at = points[nearest]
        return [Face(np.concatenate([at.min(0), at.max(0)]), at, 1.0)]

    class Detector:
        def __call__(self, rgb: np.ndarray) -> list[Face]:
            return detect(rgb)

    for person in (0, 1):
        for rgb, at in filmed(person, 6):
            points[tuple(rgb.mean((0, 1)))] = at
    monkeypatch.setattr("tcae.editing.portraits.make_detector", Detector)
    # Tracks and turns are tested elsewhere.
    monkeypatch.setattr("tcae.editing.portraits.UprightDetector", lambda detector: detector)
    return filmed


def still(path: Path, rgb: np.ndarray) -> Path:
    cv2.imwrite(str(path), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    return path


def film(path: Path, pictures: list[np.ndarray], fps: float = 10) -> Path:
    with VideoWriter(path, *pictures[0].shape[:2]) as video:
        for number, rgb in enumerate(pictures):
            video.write(rgb, number / fps)
    return path


def shown(path: Path) -> list[np.ndarray]:
    return [frame.rgb for frame in read_frames(path)]


def main(*words: object) -> int:
    return edit.main([str(word) for word in words])


def test_a_picture_is_what_the_editor_makes(known, tmp_path, capsys):
    (rgb, at), *_ = known(0, 6)
    source, out = still(tmp_path / "a.png", rgb), tmp_path / "b.png"
    assert main(source, "--au", "AU12=1.0", "au04=0.2", "--pose", 5, 10, 0, "--out", out) == 0
    editor = FaceEditor.load()
    wanted = editor(editor.portrait(rgb, at), {"AU12": 1.0, "AU04": 0.2}, (5, 10, 0))
    assert np.array_equal(shown(out)[0], wanted)
    assert "240" in capsys.readouterr().out
    assert main(source, "--au", "AU12=1", "--out", out) == 2
    assert "already there" in capsys.readouterr().err
    assert main(source, "--au", "AU12=1", "--out", out, "--overwrite") == 0


def test_a_driving_video_makes_a_video(known, tmp_path):
    """Its own frame drives nothing; others do. Times are those of the driver."""
    pictures = [rgb for rgb, _ in known(0, 6)]
    source = still(tmp_path / "a.png", pictures[2])
    driver = film(tmp_path / "b.mp4", pictures)
    out = tmp_path / "c.mp4"
    assert main(source, "--au-from", driver, "--pose-from", driver, "--out", out) == 0
    frames = list(read_frames(out))
    assert [round(frame.timestamp, 2) for frame in frames] == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    away = [np.abs(frame.rgb - pictures[2].astype(float)).mean() for frame in frames]
    assert int(np.argmin(away)) == 2 and max(away) > 2 * away[2]


def test_a_video_is_edited_frame_by_frame(known, tmp_path, caplog):
    pictures = [rgb for rgb, _ in known(1, 6)]
    pictures[3] = np.full_like(pictures[3], 40)
    source, out = film(tmp_path / "a.mp4", pictures), tmp_path / "b.mp4"
    assert main(source, "--au", "AU26=1", "--out", out) == 0
    away = [
        np.abs(after.astype(float) - before).mean()
        for after, before in zip(shown(out), shown(source), strict=True)
    ]
    assert away[3] < 0.3 * min(away[:3] + away[4:])
    assert "1 of 6 frames show no face" in caplog.text


def test_videos_of_other_rates_go_by_time_until_the_first_ends(known, tmp_path):
    pictures = [rgb for rgb, _ in known(0, 6)]
    source = film(tmp_path / "a.mp4", pictures, fps=10)
    driver = film(tmp_path / "b.mp4", [rgb for rgb, _ in known(1, 6)][:2], fps=5)
    assert main(source, "--au-from", driver, "--out", tmp_path / "c.mp4") == 0
    assert len(shown(tmp_path / "c.mp4")) == 3  # 0, .1 and .2 seconds


def test_a_video_without_a_face_is_an_error_and_leaves_nothing(known, tmp_path, capsys):
    source = film(tmp_path / "a.mp4", [np.full((64, 64, 3), 40, np.uint8)] * 3)
    out = tmp_path / "b.mp4"
    assert main(source, "--au", "AU12=1", "--out", out) == 2
    assert f"{source}: no face was found in any of its 3 frames" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4"]


def test_a_driver_without_a_face_is_an_error_too(known, tmp_path, capsys):
    source = still(tmp_path / "a.png", known(0, 6)[0][0])
    driver = film(tmp_path / "b.mp4", [np.full((64, 64, 3), 40, np.uint8)] * 3)
    assert main(source, "--au-from", driver, "--out", tmp_path / "c.mp4") == 2
    assert f"{driver}: no face was found in any of its 3 frames" in capsys.readouterr().err
    assert not (tmp_path / "c.mp4").exists()


@pytest.mark.parametrize("ending", [".jpg", ".jpeg", ".webp"])
def test_pictures_of_other_endings_are_edited(known, tmp_path, ending):
    """FFmpeg takes the name of a JPEG for the first one of a sequence."""
    (rgb, _), *_ = known(0, 6)
    source = still(tmp_path / f"a{ending}", rgb)
    assert main(source, "--au", "AU12=1", "--out", tmp_path / "b.png") == 0
    assert (shown(tmp_path / "b.png")[0] != rgb).any()


def test_a_folder_is_refused_by_name(known, tmp_path, capsys):
    assert main(tmp_path, "--au", "AU12=1", "--out", tmp_path / "b.mp4") == 2
    assert f"{tmp_path}: is a folder, a picture or a video is needed" in capsys.readouterr().err


def test_a_picture_without_a_face_is_named(known, tmp_path, capsys):
    source = still(tmp_path / "grey.png", np.full((64, 64, 3), 40, np.uint8))
    assert main(source, "--au", "AU12=1", "--out", tmp_path / "b.png") == 2
    assert "grey.png: no face was found in it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("a.png --out b.png", "nothing to do: give --au, --au-from, --pose or --pose-from"),
        ("a.png --au AU12 --out b.png", "--au AU12: need a unit and its intensity"),
        ("a.png --au AU12=high --out b.png", "--au AU12=high: need a unit and its intensity"),
        ("a.png --au AU99=1 --out b.png", "AU99: unknown unit; known are AU01"),
        ("a.png --au AU12=2 --out b.png", "AU12: an intensity is from 0 to 1, not 2.0"),
        ("a.png --au AU12=1 --au-from c.png --out b.png", "--au and --au-from exclude each other"),
        ("a.png --pose 0 0 9 --pose-from c.png --out b.png", "--pose and --pose-from exclude"),
        ("a.mp4 --au AU12=1 --out b.png", "--out b.png: a video comes out, so need .mp4"),
        ("a.png --au AU12=1 --out b.mp4", "--out b.mp4: a picture comes out, so need .bmp"),
        ("a.png --au AU12=1 --out b.png", "a.png: "),
        ("a.png --au AU12=1 --out b.png --weights nothing", "nothing"),
    ],
)
def test_wrong_words_are_one_line(known, tmp_path, monkeypatch, capsys, words, error):
    monkeypatch.chdir(tmp_path)
    assert main(*words.split()) == 2
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert error in line and not list(tmp_path.iterdir())


def test_what_a_unit_is_worth_is_said(known, tmp_path, caplog):
    source = still(tmp_path / "a.png", known(0, 6)[0][0])
    assert main(source, "--au", "AU12=1", "--out", tmp_path / "b.png") == 0
    assert not caplog.records
    assert main(source, "--au", "AU23=1", "--out", tmp_path / "c.png") == 0
    assert "not measured on real faces: AU23; see docs/edit.md" in caplog.text
