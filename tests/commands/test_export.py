from __future__ import annotations

import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tcae import export, load_encoder, load_probe
from tcae.data.align import DEFAULT_TEMPLATE, AlignmentTemplate, align
from tcae.data.pictures import centre
from tcae.evaluation import exported_encoder
from tcae.evaluation.linear_probe import LinearProbe, save_probe
from tcae.models.encoder import Encoder
from tcae.models.encoder_file import save_encoder
from tcae.models.model_config import ModelConfig

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run directory with an encoder for 32x32 faces and a probe of it."""
    torch.manual_seed(0)
    path = tmp_path / "run"
    path.mkdir()
    config = ModelConfig(base_filters=4, embedding_size=8, pose_size=5)
    save_encoder(path / "encoder.safetensors", Encoder(config, 32), DEFAULT_TEMPLATE.to_dict())
    probe = LinearProbe(8, ("AU06", "AU12"), "au", load_encoder(path).fingerprint)
    save_probe(path / "probe.safetensors", probe)
    return path


def main(run: Path | str, out: Path, *words: object) -> int:
    return export.main([*map(str, ["--encoder", run, "--out", out, *words])])


def test_onnx(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    out = tmp_path / "new" / "encoder.onnx"
    assert main(run, out, "--probe", run) == 0
    said = capsys.readouterr()
    assert not said.err
    first, second = said.out.splitlines()
    assert re.fullmatch(rf"{out}: \d+\.\d MB, checked against the encoder in onnxruntime", first)
    assert second == (
        "images (N, 3, 32, 32), RGB, float32 in [0, 1] -> "
        "au (N, 8), pose (N, 5), scores (N, 2) of AU06 AU12"
    )
    assert [path.name for path in out.parent.iterdir()] == ["encoder.onnx"]
    session = onnxruntime.InferenceSession(out)
    assert [(i.name, i.type, i.shape) for i in session.get_inputs()] == [
        ("images", "tensor(float)", ["N", 3, 32, 32])
    ]
    assert {o.name: o.shape for o in session.get_outputs()} == {
        "au": ["N", 8],
        "pose": ["N", 5],
        "scores": ["N", 2],
    }


def test_exported_program(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "encoder.pt2"
    assert main(run, out) == 0
    said = capsys.readouterr()
    assert not said.err and said.out.splitlines()[1].endswith("-> au (N, 8), pose (N, 5)")
    network = torch.export.load(out).module()
    images = torch.rand(4, 3, 32, 32)
    for given in (images, images.to(memory_format=torch.channels_last), images[:1]):
        found = network(given)
        assert list(found) == ["au", "pose"]
        torch.testing.assert_close(found["au"], load_encoder(run).embed(given).au)


def test_an_earlier_file_is_kept_unless_told_otherwise(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "encoder.pt2"
    out.write_text("earlier")
    assert main(run, out) == 2
    assert capsys.readouterr().err == (
        f"tcae.export: error: --out {out}: already there; give another or --overwrite\n"
    )
    assert out.read_text() == "earlier"
    assert main(run, out, "--overwrite") == 0
    assert torch.export.load(out)
    (tmp_path / "directory.pt2").mkdir()
    assert main(run, tmp_path / "directory.pt2", "--overwrite") == 2


@pytest.mark.parametrize("earlier", [True, False])
def test_a_file_that_differs_is_not_written(
    run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    earlier: bool,
) -> None:
    monkeypatch.setattr(exported_encoder, "TOLERANCE", -1.0)
    out = tmp_path / "encoder.pt2"
    if earlier:
        out.write_text("earlier")
    before = sorted(tmp_path.iterdir())
    assert main(run, out, "--overwrite") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "differs from the encoder's" in error
    assert sorted(tmp_path.iterdir()) == before
    assert not earlier or out.read_text() == "earlier"


def test_a_probe_of_another_encoder_is_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(run, tmp_path / "encoder.pt2", "--probe", "synthetic-64") == 2
    error = capsys.readouterr().err
    assert "--probe: it was trained on the encoder" in error and error.count("\n") == 1
    assert not (tmp_path / "encoder.pt2").exists()


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("encoder.pb", [], r"encoder\.pb: its name must end in \.onnx or \.pt2$"),
        ("encoder", [], r"encoder: its name must end in \.onnx or \.pt2$"),
        ("encoder.pt2", ["--probe", "nowhere"], "nowhere: no such file"),
        ("encoder.pt2", ["--encoder", "nowhere"], "nowhere: no such encoder file"),
    ],
)
def test_bad_options_are_one_line_and_status_2(
    run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    words: list[str],
    message: str,
) -> None:
    assert main(run, tmp_path / name, *words) == 2
    error = capsys.readouterr().err
    assert re.search(message, error.rstrip("\n")) and error.count("\n") == 1
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_names_the_extra(
    run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    package: str,
) -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        monkeypatch.setitem(sys.modules, name, None if name == package else sys)  # type: ignore[arg-type]
    assert main(run, tmp_path / "encoder.onnx") == 2
    error = capsys.readouterr().err
    assert f"ONNX needs {package}: pip install 'tcae[export]', or use .pt2" in error
    assert error.count("\n") == 1
    assert main(run, tmp_path / "encoder.pt2") == 0


def test_shipped_weights_in_the_program_of_the_documentation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a picture and five points to the probabilities that our own code gives."""
    pytest.importorskip("onnxruntime")
    assert main("synthetic-64", tmp_path / "encoder.onnx", "--probe", "synthetic-64") == 0
    encoder, probe = load_encoder("synthetic-64"), load_probe("synthetic-64")
    weights = 4 * sum(values.numel() for values in encoder.network.state_dict().values())
    assert (tmp_path / "encoder.onnx").stat().st_size == pytest.approx(weights, rel=0.01)
    text = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"<!-- example -->\n\n```python\n(.*?)```", text, re.DOTALL)
    coarse = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    picture = cv2.resize(coarse, (150, 150), interpolation=cv2.INTER_CUBIC)
    template = AlignmentTemplate.from_dict(encoder.template)
    turned = template.pixels(71) @ np.array([[0.98, 0.1], [-0.1, 0.98]]) * 0.8
    found = turned + np.array([30, 45]) + np.random.default_rng(1).normal(0, 1, (5, 2))
    scope = {"picture": picture, "found": found}
    monkeypatch.chdir(tmp_path)
    exec(program, scope)

    face = centre(align(picture, found, template, 71), encoder.crop, 64)
    assert np.abs(np.int16(face) - scope["face"]).max() <= 2
    wanted = encoder.embed(torch.from_numpy(scope["face"]).permute(2, 0, 1)[None])
    for name, rows in wanted._asdict().items():
        scale = float(rows.abs().max())
        np.testing.assert_allclose(scope[name], rows, rtol=0, atol=1e-4 * scale)
    probabilities = probe.probabilities(wanted.au.numpy())
    np.testing.assert_allclose(scope["probabilities"], probabilities, rtol=0, atol=1e-4)
    assert tuple(scope["about"]["units"]) == probe.names
