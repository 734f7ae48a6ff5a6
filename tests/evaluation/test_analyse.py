from __future__ import annotations

import builtins
import subprocess
import sys
import types
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import tcae
from tcae.data import any_source, crops
from tcae.data.camera import Camera
from tcae.data.faces import Face
from tcae.data.video import VideoError, VideoFrame
from tcae.evaluation.calibration import Calibration
from tcae.evaluation.linear_probe import LinearProbe
from tcae.evaluation.smoothing import smooth

BOX = [f"face_{name}" for name in "xywh"]
POINTS = [f"{n}_{a}" for n in ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
          for a in "xy"]  # fmt: skip
FIXED = ["file", "frame", "timestamp", "face_id", "confidence", "success", *BOX, *POINTS]
FACE = np.array([[50, 42], [70, 42], [60, 50], [52, 60], [68, 60]], float)


@pytest.fixture(autouse=True)
def detector(monkeypatch):
    """A detector that sees a face where the picture's first pixel is not black."""

    def detect(rgb):
        return [Face(np.array([5.0, 6, 35, 40]), FACE, 0.9)] if rgb[0, 0].any() else []

    monkeypatch.setattr(crops, "make_detector", lambda name: detect)


def picture(value: int) -> np.ndarray:
    return np.full((120, 120, 3), value, np.uint8)


def film(*values: int) -> np.ndarray:
    return np.stack([picture(value) for value in values])


def test_an_array_becomes_a_table(encoder):
    table = tcae.analyse(film(90, 0, 200), fps=5, encoder=encoder)
    assert [*table] == FIXED
    assert table["file"].tolist() == ["array 0"] * 3
    assert table["timestamp"].tolist() == [0, 0.2, 0.4]
    assert table["success"].tolist() == [1, 0, 1]
    assert table["face_id"].isna().tolist() == [False, True, False]
    assert table.loc[0, BOX].tolist() == [5, 6, 30, 34]
    assert table.loc[2, POINTS].tolist() == FACE.ravel().tolist()
    assert table.loc[1, [*BOX, *POINTS]].isna().all()


def test_units_and_then_embeddings(encoder):
    torch.manual_seed(0)
    probe = LinearProbe(3, ("AU01", "AU12"), "au", encoder.fingerprint).eval()
    table = tcae.analyse(film(90, 200), encoder=encoder, probe=probe, embeddings=True)
    embedded = [f"{name}_00{k}" for name in ("au", "pose") for k in range(3)]
    assert [*table][len(FIXED) :] == ["AU01_c", "AU12_c", "AU01_score", "AU12_score", *embedded]
    assert table["timestamp"].isna().all()
    np.testing.assert_allclose(
        table[embedded[:3]], np.array([[90] * 3, [200] * 3]) / 255, rtol=1e-5
    )
    wanted = probe.scores(table[embedded[:3]].to_numpy(np.float32))
    np.testing.assert_allclose(table[["AU01_score", "AU12_score"]], wanted, rtol=1e-5)
    assert (table["AU12_c"] == (table["AU12_score"] >= 0.5)).all()


def test_a_neutral_face_and_smoothing(encoder):
    """Every tenth frame shows nobody; the rest of the table stays as it is."""
    torch.manual_seed(0)
    probe = LinearProbe(3, ("AU01", "AU12"), "au", encoder.fingerprint).eval()
    lines = np.array([[1.0, 2.0], [-0.5, 0.5]])
    probe.calibration = Calibration(lines, *np.array([[0.4, 0.6], [0.2, 0.3], [-2, -1]]), lines)
    values = np.random.default_rng(0).integers(1, 255, 60)
    values[::10] = 0
    given = film(*values)
    plain, refined = (
        tcae.analyse(given, fps=25, encoder=encoder, probe=probe, embeddings=True, **options)
        for options in ({}, {"neutral": (0, 1), "smooth": 0.2})
    )
    assert [*refined] == [*plain] and (refined.dtypes == plain.dtypes).all()
    same = [name for name in plain if not name.startswith("AU")]
    assert refined[same].equals(plain[same])
    seen = plain["success"] == 1
    assert refined[~seen].filter(like="AU").isna().all(axis=None)
    logits = probe.logits(plain.loc[seen, ["au_000", "au_001", "au_002"]].to_numpy(np.float32))
    times = plain.loc[seen, "timestamp"].to_numpy()
    logits = logits - 0.75 * (logits[times <= 1].mean(0) - [-2, -1])
    logits = smooth(logits, times, 0.2)
    p = 1 / (1 + np.exp(-(lines[0] * logits + lines[1])))
    np.testing.assert_allclose(refined.loc[seen, ["AU01_p", "AU12_p"]], p, rtol=1e-4)
    np.testing.assert_allclose(refined.loc[seen, ["AU01_r", "AU12_r"]], 5 * p, rtol=1e-4)


def test_what_is_odd_is_a_line_of_the_log(encoder, caplog):
    tcae.analyse([film(90, 0, 90)[:, :70], film(0, 0)], encoder=encoder)
    assert caplog.messages == [
        "array 0: no face in 1 of 3 frames",
        "array 0: 100% of the faces leave the picture; their values mean less",
        "array 1: no face in it",
    ]


def test_hdr_is_read_if_asked_for(encoder, tmp_path, caplog, write_hdr_video):
    write_hdr_video(tmp_path / "a.mkv")
    with pytest.raises(ValueError, match="no frame could be read"):
        tcae.analyse(tmp_path / "a.mkv", encoder=encoder)
    assert "HDR" in caplog.text
    assert len(tcae.analyse(tmp_path / "a.mkv", encoder=encoder, tone_map=True)) == 1


def test_files_of_a_mixture(encoder, tmp_path, write_video):
    video = write_video(tmp_path / "a.mp4", 2)
    cv2.imwrite(str(tmp_path / "b.png"), picture(90))
    table = tcae.analyse([str(video), tmp_path / "b.png", picture(90)], encoder=encoder)
    files = [str(video), str(video), str(tmp_path / "b.png"), "array 0"]
    assert table["file"].tolist() == files
    assert table["frame"].tolist() == [0, 1, 0, 0]


def test_the_table_of_the_command_is_the_same(encoder, tmp_path, write_video, monkeypatch):
    pandas = pytest.importorskip("pandas")
    from tcae import analyse as function
    from tcae.analyse import main

    video = write_video(tmp_path / "talk.mp4", 5)
    monkeypatch.chdir(tmp_path)
    assert main([str(video), "--device", "cpu", "--embeddings"]) == 0
    written = pandas.read_csv("talk.csv", dtype_backend="numpy_nullable")
    table = function(video, device="cpu", embeddings=True)
    assert [*written] == [*table] and len(table) == 5
    for name in [*table][1:]:
        wanted = table[name].to_numpy(float, na_value=np.nan)
        np.testing.assert_allclose(
            written[name].to_numpy(float, na_value=np.nan), wanted, rtol=2e-6, atol=1e-4
        )


def test_a_vanished_camera_leaves_its_rows(encoder, monkeypatch, caplog):
    class Vanishing(Camera):
        def read(self, fps=None, tone_mapped=False):
            yield VideoFrame(0, 0.0, picture(90))
            yield VideoFrame(1, 0.5, picture(90))
            raise VideoError("camera 0: gives no more pictures after 1.0 seconds")

    monkeypatch.setattr(
        any_source, "camera", lambda number, *_: Vanishing(
            Path("camera 0"), "", "", "", "", True, number=number
        )
    )  # fmt: skip
    table = tcae.analyse(0, encoder=encoder)
    assert table["timestamp"].tolist() == [0, 0.5] and set(table["file"]) == {"camera 0"}
    assert caplog.messages == ["camera 0: gives no more pictures after 1.0 seconds"]


def test_ctrl_c_ends_a_camera_and_keeps_its_rows(encoder, monkeypatch):
    import signal

    class Endless(Camera):
        def read(self, fps=None, tone_mapped=False):
            for k in range(100):
                if self.stopped():
                    return
                yield VideoFrame(k, k / 10, picture(90))
                if k == 3:
                    signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(
        any_source, "camera", lambda number, seconds, stopped: Endless(
            Path("camera 0"), "", "", "", "", True, number=number, stopped=stopped
        )
    )  # fmt: skip
    assert len(tcae.analyse(0, encoder=encoder)) == 4


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("nowhere.mp4", {}, "nowhere.mp4: no such file"),
        (film(90), {"fps": 0}, "fps must be positive, not 0"),
        (film(90), {"encoder": "nowhere"}, "nowhere: no such encoder file"),
        (film(90), {"device": "abacus"}, "abacus"),
        (film(90).astype(float), {}, "float64 of shape"),
    ],
)
def test_what_cannot_be_done_is_named(source, options, message):
    with pytest.raises((ValueError, OSError), match=message):
        tcae.analyse(source, **options)


def test_nothing_that_can_be_read(encoder, tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(ValueError, match=r"a\.mp4: no frame could be read"):
        tcae.analyse(tmp_path / "a.mp4", encoder=encoder)


def test_without_pandas_one_line_says_what_to_install(encoder, monkeypatch):
    whole = builtins.__import__

    def refuse(name, *arguments):
        if name == "pandas":
            raise ImportError(name)
        return whole(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=r"pip install 'tcae\[faces\]'"):
        tcae.analyse(film(90), encoder=encoder)


# The function and the command's module have one name -------------------------------------------


@pytest.mark.parametrize(
    "imports",
    [
        "import tcae",
        "import tcae.analyse",
        "import importlib; importlib.import_module('tcae.analyse').main; import tcae",
        "from tcae import analyse; import tcae, tcae.analyse; assert analyse is tcae.analyse",
    ],
)
def test_the_function_is_never_hidden_by_the_command(imports):
    program = f"{imports}\nimport types; assert isinstance(tcae.analyse, types.FunctionType)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_other_modules_are_attributes_as_usual():
    import tcae.extract

    assert isinstance(tcae.extract, types.ModuleType)
    with pytest.raises(AttributeError, match="no attribute 'analyze'"):
        _ = tcae.analyze
    assert {"analyse", "load_encoder", "__version__"} <= set(dir(tcae))
