from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tcae.analyse import main
from tcae.data import crops
from tcae.data.crops import Cropper
from tcae.data.faces import Face

FACE = np.array([[29, 20], [35, 20], [32, 23], [30, 27], [34, 27]], float)


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch) -> Path:
    """An empty working directory; every picture shows a face."""
    monkeypatch.setattr("tcae.cli.displays.LINE_SECONDS", float("inf"))
    faces = [Face(np.array([5.0, 6, 35, 40]), FACE, 0.9)]
    monkeypatch.setattr(crops, "make_detector", lambda name: lambda rgb: faces)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(path: str) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_a_video_and_nothing_else(write_video, capsys):
    write_video(Path("in/talk.mp4"), 3)
    assert main(["in/talk.mp4"]) == 0
    rows = read("talk.csv")
    assert [row["frame"] for row in rows] == ["0", "1", "2"]
    assert {row["file"] for row in rows} == {"in/talk.mp4"}
    assert 0 <= float(rows[0]["AU12_p"]) <= 1 and "au_000" not in rows[0]
    assert capsys.readouterr().out.splitlines()[-1] == "talk.csv: 3 rows"


def test_a_folder_of_pictures_and_what_is_not_there(place, capsys):
    Path("faces").mkdir()
    for name in "ab":
        cv2.imwrite(f"faces/{name}.png", np.full((48, 64, 3), 90, np.uint8))
    assert main(["faces", "gone.mp4", "--out", "t.csv"]) == 1
    assert [row["file"] for row in read("t.csv")] == ["faces/a.png", "faces/b.png"]
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "tcae.analyse: warning: gone.mp4: no such file or folder"


def test_stopped_it_goes_on_where_it_was(write_video, monkeypatch, capsys):
    write_video(Path("talk.mp4"), 100)
    whole = Cropper.__call__

    def interrupted(self, *arguments):
        for number, frame in enumerate(whole(self, *arguments)):
            if number == 80:
                raise KeyboardInterrupt
            yield frame

    monkeypatch.setattr(Cropper, "__call__", interrupted)
    assert main(["talk.mp4"]) == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert not Path("talk.csv").exists() and len(read("talk.csv.partial")) == 64
    monkeypatch.setattr(Cropper, "__call__", whole)
    assert main(["talk.mp4", "--fps", "1"]) == 2
    assert "talk.csv.partial: was written with fps None, not 1.0" in capsys.readouterr().err
    assert main(["talk.mp4"]) == 0
    assert [row["frame"] for row in read("talk.csv")] == [str(k) for k in range(100)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "INPUT: none given"),
        (["talk.mp4", "--fps", "0"], "--fps must be positive"),
        (["0", "--seconds", "-1"], "--seconds must be positive"),
        (["talk.mp4", "--out", "t.xlsx"], "must end in .csv or .parquet"),
        (["talk.mp4", "--out", "there.csv"], "already there"),
        (["talk.mp4", "--encoder", "nowhere"], "nowhere"),
        (["gone.mp4"], "no frame could be read, so gone.csv is not written"),
        (["3"], "camera-3.csv.partial: left by a run that was stopped"),
        (["97"], "no frame could be read, so camera-97.csv is not written"),
    ],
)
def test_what_cannot_be_done_is_one_line(write_video, capsys, words, message):
    write_video(Path("talk.mp4"), 1)
    for name in ("there.csv", "camera-3.csv.partial"):
        Path(name).write_text("earlier")
    assert main(words) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert Path("there.csv").read_text() == "earlier"


def test_started_as_a_module_it_says_nothing_more(place):
    done = subprocess.run([sys.executable, "-m", "tcae.analyse", "--help"], capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
