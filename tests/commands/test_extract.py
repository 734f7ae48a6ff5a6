from __future__ import annotations

import csv
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch

from tcae import extract
from tcae.data.align import DEFAULT_TEMPLATE
from tcae.data.crops import Cropper
from tcae.data.pictures import resize
from tcae.data.video import read_frames
from tcae.evaluation.calibration import Calibration
from tcae.evaluation.linear_probe import LinearProbe, load_probe, save_probe
from tcae.models.encoder import Encoder
from tcae.models.encoder_file import load_encoder, save_encoder
from tcae.models.model_config import ModelConfig


@pytest.fixture
def run(tmp_path, monkeypatch) -> Path:
    """A run directory with an encoder for 32x32 faces; a slow machine prints no progress."""
    monkeypatch.setattr("tcae.cli.displays.LINE_SECONDS", float("inf"))
    torch.manual_seed(0)
    config = ModelConfig(base_filters=4, embedding_size=8, pose_size=5)
    (tmp_path / "run").mkdir()
    path = tmp_path / "run" / "encoder.safetensors"
    save_encoder(path, Encoder(config, 32), DEFAULT_TEMPLATE.to_dict())
    return tmp_path / "run"


def main(run: Path, out: Path, *words: object, aligned: bool = True) -> int:
    options = ["--encoder", run, "--out", out, "--device", "cpu", *words]
    return extract.main([*map(str, options), *(["--aligned"] if aligned else [])])


def read(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_aligned_video_to_csv(run, tmp_path, write_video, capsys):
    video = write_video(tmp_path / "a.mp4", 7, fps=4, size=(64, 64))
    out = tmp_path / "t.csv"
    assert main(run, out, video, "--batch-size", 3) == 0
    rows = read(out)
    assert [row["frame"] for row in rows] == [str(k) for k in range(7)]
    assert rows[2] | {"timestamp": "0.5000", "face_id": "0", "success": "1"} == rows[2]
    assert {row["video"] for row in rows} == {str(video)}
    assert {row["confidence"] for row in rows} == {""}  # nothing was detected
    faces = np.stack([resize(frame.rgb, 32) for frame in read_frames(video)])
    expected = load_encoder(run).embed(torch.from_numpy(faces).permute(0, 3, 1, 2))
    for name, values in expected._asdict().items():
        columns = [column for column in rows[0] if column.startswith(f"{name}_")]
        assert columns == [f"{name}_{i:03d}" for i in range({"au": 8, "pose": 5}[name])]
        got = [[float(row[column]) for column in columns] for row in rows]
        np.testing.assert_allclose(got, values, rtol=1e-4, atol=1e-5)
    assert "7 rows" in capsys.readouterr().out


def test_parquet_says_the_same_as_csv(run, tmp_path, write_video):
    parquet = pytest.importorskip("pyarrow.parquet")
    video = write_video(tmp_path / "a.mp4", 5)
    assert main(run, tmp_path / "t.csv", video) == 0
    assert main(run, tmp_path / "t.parquet", video) == 0
    table = parquet.read_table(tmp_path / "t.parquet").to_pylist()
    for mine, theirs in zip(table, read(tmp_path / "t.csv"), strict=True):
        assert list(mine) == list(theirs) and mine["video"] == theirs["video"]
        for name in list(mine)[1:]:
            cell = theirs[name]
            assert mine[name] == (pytest.approx(float(cell), rel=1e-5) if cell else None), name


def test_fps_and_choice_of_columns(run, tmp_path, write_video):
    video = write_video(tmp_path / "a.mp4", 12, fps=4)
    assert main(run, tmp_path / "t.csv", video, "--fps", 1, "--embeddings", "pose") == 0
    rows = read(tmp_path / "t.csv")
    assert [row["frame"] for row in rows] == ["0", "4", "8"]
    assert list(rows[0])[10:] == [f"pose_{i:03d}" for i in range(5)]


@pytest.fixture
def probe(run) -> Path:
    torch.manual_seed(1)
    probe = LinearProbe(5, ("AU06", "AU12"), "pose", load_encoder(run).fingerprint)
    path = run.parent / "probe"
    path.mkdir()
    save_probe(path / "probe.safetensors", probe)
    return path


def test_probe_columns(run, tmp_path, write_video, probe, capsys):
    video = write_video(tmp_path / "a.mp4", 5)
    assert main(run, tmp_path / "t.csv", video, "--probe", probe, "--embeddings", "none") == 0
    rows = read(tmp_path / "t.csv")
    assert list(rows[0])[10:] == ["AU06_c", "AU12_c", "AU06_score", "AU12_score"]
    for row in rows:
        for unit in ("AU06", "AU12"):
            assert row[f"{unit}_c"] == str(int(float(row[f"{unit}_score"]) >= 0.5))
    assert capsys.readouterr().err.count("not calibrated: AU12_score is a score from 0 to 1") == 1


@pytest.fixture
def calibrated(probe) -> Path:
    """Log odds of presence are twice the logit and one; a unit is present from .7 on."""
    known = load_probe(probe)
    numbers = {"presence": [[2.0, 2.0], [1.0, 1.0]], "threshold": [0.7, 0.7], "prior": [0.3, 0.3]}
    numbers |= {"rest": [-1.0, -3.0], "intensity": [[1.0, 1.0], [-2.0, -2.0]]}
    known.calibration = Calibration.from_arrays({n: np.array(v) for n, v in numbers.items()})
    (probe.parent / "calibrated").mkdir()
    save_probe(probe.parent / "calibrated" / "probe.safetensors", known)
    return probe.parent / "calibrated"


def logits_of(rows) -> np.ndarray:
    scores = np.array([[float(row[f"{unit}_score"]) for unit in ("AU06", "AU12")] for row in rows])
    return np.log(scores / (1 - scores))


def check_values(rows, logits) -> None:
    for row, x in zip(rows, logits, strict=True):
        for unit, logit in zip(("AU06", "AU12"), x, strict=True):
            p = 1 / (1 + math.exp(-2 * logit - 1))
            assert float(row[f"{unit}_p"]) == pytest.approx(p, rel=1e-3)
            assert row[f"{unit}_c"] == str(int(p >= 0.7))
            r = 5 / (1 + math.exp(-logit + 2))
            assert float(row[f"{unit}_r"]) == pytest.approx(r, rel=1e-3)


def test_columns_of_a_calibrated_probe(run, tmp_path, write_video, probe, calibrated, capsys):
    video, words = write_video(tmp_path / "a.mp4", 25), ("--embeddings", "none", "--probe")
    assert main(run, tmp_path / "s.csv", video, *words, probe) == 0
    logits = logits_of(read(tmp_path / "s.csv"))
    capsys.readouterr()
    assert main(run, tmp_path / "t.csv", video, *words, calibrated, "--neutral", "none") == 0
    said = capsys.readouterr()
    assert "calibrated" not in said.err and "neutral" not in said.out
    rows = read(tmp_path / "t.csv")
    assert list(rows[0])[10:] == [f"{unit}_{kind}" for kind in "cpr" for unit in ("AU06", "AU12")]
    check_values(rows, logits)


@pytest.mark.parametrize("way", ["auto", "0.2:0.5", "a.mp4"])
def test_a_neutral_face_is_taken_off(run, tmp_path, write_video, probe, calibrated, way, capsys):
    video, words = write_video(tmp_path / "a.mp4", 30), ("--embeddings", "none", "--probe")
    assert main(run, tmp_path / "s.csv", video, *words, probe) == 0
    before = read(tmp_path / "s.csv")
    logits, times = logits_of(before), np.array([float(row["timestamp"]) for row in before])
    neutral = tmp_path / way if way == "a.mp4" else way
    assert main(run, tmp_path / "t.csv", video, *words, calibrated, "--neutral", neutral) == 0
    shown = {
        "auto": (1 / (1 + np.exp(-2 * logits - 1))).sum(1).argsort()[:3],
        "0.2:0.5": np.flatnonzero((times >= 0.2) & (times <= 0.5)),
        "a.mp4": np.arange(30),
    }[way]
    check_values(read(tmp_path / "t.csv"), logits - 0.75 * (logits[shown].mean(0) - [-1, -3]))
    title = {"auto": "the calmest tenth of its frames", "0.2:0.5": "0.2 to 0.5 s"}
    told = f"neutral face ({title.get(way, 'the given one')}) taken off 1 of 1 faces"
    assert capsys.readouterr().out.count(told) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--neutral", "2:1"), "--neutral 2:1: START must lie before END"),
        (("--neutral", "no.png"), "--neutral no.png: no such file; auto, none, START:END"),
        (("--smooth", "-1"), "--smooth must be a number of seconds from 0 on, not -1.0"),
    ],
)
def test_wrong_ways_to_refine(run, tmp_path, write_video, calibrated, capsys, words, said):
    video = write_video(tmp_path / "a.mp4", 3)
    assert main(run, tmp_path / "t.csv", video, "--probe", calibrated, *words) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "t.csv").exists()


def test_a_neutral_face_needs_a_calibrated_probe(run, tmp_path, write_video, probe, capsys):
    video = write_video(tmp_path / "a.mp4", 3)
    assert main(run, tmp_path / "t.csv", video, "--probe", probe, "--neutral", "0:1") == 2
    assert "--neutral 0:1: needs a calibrated probe" in capsys.readouterr().err


def test_a_probe_of_another_encoder_is_refused(run, tmp_path, write_video, probe, capsys):
    config = ModelConfig(base_filters=4, embedding_size=8, pose_size=5)
    path = run / "encoder.safetensors"
    save_encoder(path, Encoder(config, 32), DEFAULT_TEMPLATE.to_dict())
    video = write_video(tmp_path / "a.mp4", 3)
    assert main(run, tmp_path / "t.csv", video, "--probe", probe) == 2
    assert "--probe: it was trained on the encoder" in capsys.readouterr().err
    assert not (tmp_path / "t.csv").exists()


def test_bad_videos_are_one_line_each_and_the_rest_goes_on(run, tmp_path, write_video, capsys):
    good, late = (write_video(tmp_path / f"{n}.mp4", 4, seed=n) for n in (1, 2))
    (tmp_path / "bad.mp4").write_bytes(b"not a video")
    missing, folder = tmp_path / "missing.mp4", tmp_path / "folder"
    folder.mkdir()
    (folder / "gone.mp4").symlink_to(tmp_path / "nowhere")
    assert main(run, tmp_path / "t.csv", good, tmp_path / "bad.mp4", missing, folder, late) == 1
    errors = capsys.readouterr().err.splitlines()
    assert sum("gone.mp4" in line for line in errors) == 1
    assert len(errors) == 3 and all(line.startswith("tcae.extract: warning:") for line in errors)
    assert sum("bad.mp4" in line for line in errors) == 1
    assert sum("missing.mp4" in line for line in errors) == 1
    assert [row["video"] for row in read(tmp_path / "t.csv")] == [str(good)] * 4 + [str(late)] * 4


def test_no_readable_video_writes_no_table(run, tmp_path, capsys):
    (tmp_path / "bad.mp4").write_bytes(b"not a video")
    assert main(run, tmp_path / "t.csv", tmp_path / "bad.mp4") == 2
    assert "no frame could be read" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.mp4", "run"]


def press_ctrl_c(monkeypatch, frame: int) -> None:
    """Do so as soon as a frame is reached."""
    whole = Cropper.__call__

    def interrupted(self, *arguments):
        for number, content in enumerate(whole(self, *arguments)):
            if number == frame:
                raise KeyboardInterrupt
            yield content

    monkeypatch.setattr(Cropper, "__call__", interrupted)


def test_ctrl_c_leaves_the_earlier_table(run, tmp_path, write_video, monkeypatch, capsys):
    """What there is of the new one is kept beside it."""
    video = write_video(tmp_path / "a.mp4", 6)
    out = tmp_path / "t.csv"
    out.write_text("earlier")
    press_ctrl_c(monkeypatch, frame=4)
    assert main(run, out, video, "--overwrite", "--batch-size", 2) == 130
    assert out.read_text() == "earlier" and not list(tmp_path.glob(".*"))
    warning, error = capsys.readouterr().err.splitlines()
    assert warning.endswith(f"{out}: 4 rows are kept; --resume goes on")
    assert error == "tcae.extract: interrupted"
    assert [row["frame"] for row in read(tmp_path / "t.csv.partial")] == ["0", "1", "2", "3"]
    monkeypatch.undo()
    assert main(run, out, video, "--batch-size", 2) == 2
    assert "go on with --resume" in capsys.readouterr().err
    assert main(run, out, video, "--batch-size", 2, "--resume") == 0
    assert [row["frame"] for row in read(out)] == [str(k) for k in range(6)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "run", "t.csv"]


def test_an_earlier_table_is_kept_unless_told_otherwise(run, tmp_path, write_video, capsys):
    video = write_video(tmp_path / "a.mp4", 2)
    (tmp_path / "t.csv").write_text("earlier")
    assert main(run, tmp_path / "t.csv", video) == 2
    assert "already there" in capsys.readouterr().err
    assert (tmp_path / "t.csv").read_text() == "earlier"
    assert main(run, tmp_path / "t.csv", video, "--overwrite") == 0
    assert len(read(tmp_path / "t.csv")) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "t.xlsx"], "must end in .csv or .parquet"),
        (["--fps", "0"], "--fps must be positive"),
        (["--batch-size", "0"], "--batch-size must be at least 1"),
        (["--encoder", "nowhere"], "nowhere"),
        (["--probe", "nowhere"], "nowhere: no such file"),
    ],
)
def test_bad_options_are_one_line_and_status_2(run, tmp_path, write_video, capsys, words, message):
    video = write_video(tmp_path / "a.mp4", 2)
    assert main(run, tmp_path / "t.csv", video, *words) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("streams", "ending"),
    [("", "csv"), ("", "parquet"), ("| head -1", "csv"), (">&-", "csv"), ("2>&-", "csv")],
)
def test_neither_names_nor_messages_lose_the_table(run, tmp_path, write_video, streams, ending):
    """As a user starts it, with a name in Latin-1 and messages that nobody can print or read."""
    names = [b"a.mp4", b"caf\xe9.mp4", "zo\u00e9.mp4".encode()]
    (tmp_path / "in").mkdir()
    for name in names:
        os.replace(write_video(tmp_path / "v.mp4", 2), os.fsencode(tmp_path / "in") + b"/" + name)
    out = tmp_path / f"t.{ending}"
    words = ["in", "--encoder", run, "--out", out, "--device", "cpu", "--aligned"]
    command = [sys.executable, "-m", "tcae", "extract", *map(str, words)]
    shell = ["bash", "-c", f'"$@" {streams}; exit ${{PIPESTATUS[0]}}', "bash"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*shell, *command], cwd=tmp_path, env=environment, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    if ending == "csv":
        rows = [line.partition(b",")[0] for line in out.read_bytes().splitlines()[1:]]
        assert rows == [b"in/" + name for name in names for _ in range(2)]
    else:
        column = pytest.importorskip("pyarrow.parquet").read_table(out)["video"].to_pylist()
        assert column[::2] == ["in/a.mp4", r"in/caf\xe9.mp4", "in/zo\u00e9.mp4"]
    if not streams:
        assert rb"zo\xe9.mp4: 2 rows" in done.stdout


def test_no_video_at_all(run, tmp_path, capsys):
    assert main(run, tmp_path / "t.csv") == 2
    assert "INPUT: none given" in capsys.readouterr().err


def test_videos_pictures_and_folders_together(run, tmp_path, write_video, capsys):
    video = write_video(tmp_path / "a.mp4", 3)
    for name in ("x.png", "y.png", "v/7.png", "v/10.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), np.full((40, 60, 3), 90, np.uint8))
    inputs = [tmp_path / name for name in ("x.png", "y.png", "a.mp4", "v")]
    assert main(run, tmp_path / "t.csv", *inputs) == 0
    rows = read(tmp_path / "t.csv")
    names = ["x.png", "y.png", *["a.mp4"] * 3, "v/7.png", "v/10.png"]
    assert [row["file"] for row in rows] == [str(tmp_path / name) for name in names]
    assert [row["video"] for row in rows] == ["", "", *[str(video)] * 3, "", ""]
    assert [row["frame"] for row in rows] == ["0", "1", "0", "1", "2", "7", "10"]
    assert {row["face_id"] for row in rows} == {"0"}
    box = ["face_x", "face_y", "face_w", "face_h"]
    assert [[row[name] for name in box] for row in rows] == [
        ["0", "0", *size] for size in [("60", "40")] * 2 + [("64", "48")] * 3 + [("60", "40")] * 2
    ]
    assert f"{tmp_path}/x.png and 1 more: 2 rows, 2 faces" in capsys.readouterr().out


def test_a_picture_that_cannot_be_read_is_named(run, tmp_path, capsys):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((40, 60, 3), 90, np.uint8))
    (tmp_path / "b.png").write_bytes(b"no picture")
    assert main(run, tmp_path / "t.csv", tmp_path / "a.png", tmp_path / "b.png") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(r"a\.png and 1 more: 1 of 2 pictures are left out, as b\.png, which can", line)
    assert len(read(tmp_path / "t.csv")) == 1


# Long work. A script finds faces without a detector's weights, and is killed ---------------------

FACES = """
import numpy as np
from tcae.cli import displays
from tcae.data import crops
from tcae.data.faces import Face
from tcae.evaluation import table

def detect(rgb):
    # The person stands on grey, with the same points within the square.
    y, x = np.nonzero((rgb != 90).any(2))
    if len(y) < 100:
        return []
    low = np.array([x.min(), y.min()], float)
    points = np.array([[60, 66], [100, 66], [80, 90], [64, 112], [97, 112]], float)
    return [Face(np.concatenate([low, low + 160]), low + points, 0.999)]

crops.make_detector = lambda name: detect
table._MARK_SECONDS, displays.LINE_SECONDS = 0.0, float("inf")
"""
KILLED = """
import os, signal
from tcae.data.crops import Cropper

whole, left, number = Cropper.__call__, int(sys.argv.pop(1)), signal.Signals[sys.argv.pop(1)]

def until(self, *arguments):
    global left
    for frame in whole(self, *arguments):
        if left == 0:
            os.kill(os.getpid(), number)
        left -= 1
        yield frame

Cropper.__call__ = until
"""
MAIN = """
from tcae import extract
sys.exit(extract.main())
"""


@pytest.fixture
def films(tmp_path, filmed) -> list[Path]:
    """Two videos in which two people take turns, with gaps, and a folder of pictures of one."""
    empty = [np.full((240, 320, 3), 90, np.uint8)] * 8
    people = {person: [rgb for rgb, _ in filmed(person, 8)] for person in (0, 2)}
    for name, order in (("a", (0, 2, 0)), ("b", (2, 0, 2))):
        with av.open(str(tmp_path / f"{name}.mkv"), "w") as container:
            stream = container.add_stream("ffv1", rate=10)
            stream.width, stream.height, stream.pix_fmt = 320, 240, "bgr0"
            for rgb in (rgb for person in order for rgb in (*people[person], *empty)):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, "rgb24")))
            container.mux(stream.encode())
    (tmp_path / "stills").mkdir()
    for k, rgb in enumerate(people[0]):
        cv2.imwrite(str(tmp_path / "stills" / f"{k}.png"), rgb[..., ::-1])
    return [tmp_path / "a.mkv", tmp_path / "stills", tmp_path / "b.mkv"]


def start(text: str, *words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(extract.__file__).parents[1])}
    command = [sys.executable, "-c", "import sys\n" + text + MAIN, *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("ending", "stops"),
    [("csv", [(15, "SIGTERM"), (9, "SIGKILL")]), ("parquet", [(33, "SIGKILL")])],
)
def test_stopped_anywhere_it_goes_on_to_the_same_table(run, tmp_path, films, ending, stops):
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    options = ["--encoder", run, "--device", "cpu", "--batch-size", 6, "--points"]
    done = start(FACES, *films, *options, "--out", f"whole.{ending}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    whole, out = tmp_path / f"whole.{ending}", tmp_path / f"t.{ending}"
    words, partial = [*films, *options, "--out", out], tmp_path / f"t.{ending}.partial"
    for left, name in stops:
        done = start(FACES + KILLED, left, name, *words, "--resume", cwd=tmp_path)
        assert done.returncode == (130 if name == "SIGTERM" else -9), done.stderr
        assert partial.exists() and not out.exists()
        if name == "SIGTERM":
            warning, error = done.stderr.splitlines()
            rows = len(partial.read_text().splitlines()) - 1
            assert warning.endswith(f"t.{ending}: {rows} rows are kept; --resume goes on")
            assert error.endswith("tcae.extract: interrupted")
    done = start(FACES, *words, "--resume", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert out.read_bytes() == whole.read_bytes()
    assert [path.name for path in tmp_path.glob("t.*")] == [out.name]


def test_people_keep_their_ids_in_a_table(run, tmp_path, films):
    words = ["--encoder", run, "--out", "t.csv", "--embeddings", "none"]
    done = start(FACES, films[0], *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    ids = [row["face_id"] for row in read(tmp_path / "t.csv")]
    assert ids[:8] == ["0"] * 8 and ids[8:16] == [""] * 8 and ids[16:24] == ["1"] * 8
    assert ids[32] == "0" and "1" not in ids[32:]


def test_resume_needs_the_same_inputs_and_options(run, tmp_path, write_video, capsys, monkeypatch):
    video, other = (write_video(tmp_path / f"{name}.mp4", 6) for name in "ab")
    press_ctrl_c(monkeypatch, frame=4)
    words = ["--batch-size", 2]
    assert main(run, tmp_path / "t.csv", video, *words) == 130
    monkeypatch.undo()
    capsys.readouterr()
    for wrong, message in (
        ([video, "--batch-size", 4], "batch_size 2, not 4"),
        ([video, *words, "--fps", 1], "fps None, not 1.0"),
        ([video, *words, "--embeddings", "au"], "has other columns"),
        ([video, other, *words], "with inputs "),
        ([video, *words, "--overwrite"], "--resume and --overwrite exclude each other"),
    ):
        assert main(run, tmp_path / "t.csv", *wrong, "--resume") == 2
        assert message in capsys.readouterr().err
    assert main(run, tmp_path / "t.csv", video, *words, "--resume") == 0
    assert len(read(tmp_path / "t.csv")) == 6


def test_lines_come_while_a_video_is_under_way(run, tmp_path, write_video, capsys, monkeypatch):
    monkeypatch.setattr("tcae.cli.displays.LINE_SECONDS", 0.0)
    video = write_video(tmp_path / "a.mp4", 6)
    assert main(run, tmp_path / "t.csv", video, "--batch-size", 2) == 0
    form = rf"tcae\.extract: {video}: (\d) of 6 frames, .* frames/s, 0:\d\d:\d\d left"
    lines = capsys.readouterr().err.splitlines()
    assert [re.fullmatch(form, line)[1] for line in lines] == ["2", "4", "6"]


@pytest.mark.usefixtures("detector")
def test_real_clips(run, tmp_path, real_clips, capsys):
    """Faces come and go; a clip without any is named, and its frames are in the table too."""
    names = ["single_face.mp4", "face_noface.mov", "no_face.mp4", "carphone_pristine.mp4"]
    videos = [real_clips / name for name in names]
    assert main(run, tmp_path / "t.csv", *videos, "--fps", 2, aligned=False) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(r"no_face\.mp4: no face in it", line)
    rows = read(tmp_path / "t.csv")
    found = {
        name: [row["success"] == "1" for row in rows if row["video"].endswith(f"/{name}")]
        for name in names
    }
    assert all(found["single_face.mp4"]) and len(found["single_face.mp4"]) >= 4
    assert all(found["carphone_pristine.mp4"])
    assert not any(found["no_face.mp4"]) and found["no_face.mp4"]
    assert {True, False} == set(found["face_noface.mov"])
    for row in rows:
        empty = {name for name, value in row.items() if value == ""}
        seen = {name for name in row if name.startswith(("au_", "pose_", "face_"))}
        assert empty == (set() if row["success"] == "1" else seen)
