"""What the exported files compute against the encoder and the probe themselves."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import tcae
from tcae.data.align import DEFAULT_TEMPLATE
from tcae.evaluation.calibration import Calibration
from tcae.evaluation.exported_encoder import (
    ExportedEncoder,
    describe,
    differences,
    encode_encoder,
)
from tcae.evaluation.linear_probe import LinearProbe
from tcae.files.network_formats import FORMATS
from tcae.methods.network_file import NetworkFile
from tcae.models.decorrelation import Decorrelation
from tcae.models.encoder import Encoder
from tcae.models.encoder_file import FrozenEncoder
from tcae.models.encoders import ENCODERS
from tcae.models.model_config import MODEL_PRESETS, ModelConfig

SIDE, UNITS = 32, ("AU06", "AU12", "AU45")
ENDINGS = sorted(FORMATS)
OTHERS = {name: ModelConfig(encoder=name) for name in ENCODERS}  # type: ignore[arg-type]
CONFIGS = {**MODEL_PRESETS, **OTHERS}


@cache
def frozen(preset: str = "default") -> FrozenEncoder:
    """A small encoder; statistics, scales, shifts and moments are nowhere those of the start."""
    torch.manual_seed(0)
    config = replace(CONFIGS[preset], base_filters=4, embedding_size=6, pose_size=5)
    network = Encoder(config, SIDE)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, mean=1.0, std=0.3)
            nn.init.normal_(module.bias)
            module.momentum = 1.0  # to have the statistics of the next batch
    embeddings = network(images(16))
    if network.decorrelation is not None:
        scramble(network.decorrelation, embeddings.au.detach(), embeddings.pose.detach())
    return FrozenEncoder(network, DEFAULT_TEMPLATE.to_dict(), crop=0.8)


def scramble(decorrelation: Decorrelation, au: Tensor, pose: Tensor) -> None:
    """Give it random moments, of the size that those of these embeddings have."""
    mixed = torch.randn(pose.shape[1], pose.shape[1]) * pose.std(0)
    told = torch.randn(pose.shape[1], au.shape[1]) * au.std(0)
    decorrelation.covariance.copy_(mixed.T @ mixed)
    decorrelation.cross.copy_(mixed.T @ told)
    decorrelation.known_mean.copy_(pose.mean(0) + 3 * pose.std(0))


def probe_of(encoder: FrozenEncoder, embedding: str = "au") -> LinearProbe:
    """A calibrated probe; that of the AU embedding knows intensities."""
    torch.manual_seed(1)
    width = getattr(encoder.embed(images(1)), embedding).shape[1]
    probe = LinearProbe(width, UNITS, embedding, encoder.fingerprint)
    for _ in range(2):
        probe.norm(getattr(encoder.embed(images(16)), embedding))
    presence, strength = np.random.default_rng(0).random((2, 2, len(UNITS))) + 0.5
    known = strength if embedding == "au" else None
    probe.calibration = Calibration(presence, *np.full((3, len(UNITS)), 0.5), known)
    return probe.eval()


@cache
def file_of(preset: str, embedding: str | None, ending: str) -> bytes:
    if ending == ".onnx":
        pytest.importorskip("onnxscript")
    encoder = frozen(preset)
    probe = None if embedding is None else probe_of(encoder, embedding)
    return encode_encoder(encoder, probe, FORMATS[ending])


def images(count: int) -> Tensor:
    """Pictures of different colours and contrasts."""
    coarse = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(count))
    return nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bilinear")


def truth(encoder: FrozenEncoder, probe: LinearProbe | None, pictures: Tensor) -> dict[str, Tensor]:
    embeddings = encoder.embed(pictures)
    outputs = {"au": embeddings.au, "pose": embeddings.pose}
    if probe is not None:
        features = outputs[probe.embedding].numpy()
        if probe.calibration is None:
            return outputs | {"scores": torch.from_numpy(probe.scores(features))}
        outputs["probabilities"] = torch.from_numpy(probe.probabilities(features))
        if probe.calibration.intensity is not None:
            outputs["intensities"] = torch.from_numpy(probe.intensities(features))
    return outputs


def check(found: dict[str, Tensor], wanted: dict[str, Tensor], share: float) -> None:
    assert list(found) == list(wanted)
    for name, rows in wanted.items():
        torch.testing.assert_close(found[name], rows, rtol=0, atol=share * float(rows.abs().max()))


@pytest.mark.parametrize("preset", CONFIGS)
@pytest.mark.parametrize("embedding", [None, "au", "pose"])
def test_the_network_is_encoder_and_probe(preset: str, embedding: str | None) -> None:
    encoder = frozen(preset)
    before, random = encoder.fingerprint, torch.random.get_rng_state()
    probe = None if embedding is None else probe_of(encoder, embedding)
    with torch.no_grad():
        found = ExportedEncoder(encoder, probe)(images(4))
    check(found, truth(encoder, probe, images(4)), 1e-5)
    assert (encoder.network.decorrelation is not None) == CONFIGS[preset].decorrelate
    assert encoder.fingerprint == before
    if probe is None:
        assert torch.equal(torch.random.get_rng_state(), random)


def test_a_probe_that_was_not_calibrated_gives_scores() -> None:
    encoder, probe = frozen(), probe_of(frozen())
    probe.calibration = None
    with torch.no_grad():
        found = ExportedEncoder(encoder, probe)(images(4))
    assert list(found) == ["au", "pose", "scores"]
    check(found, truth(encoder, probe, images(4)), 1e-5)
    assert describe(encoder, probe)["thresholds"] == []


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("ending", ENDINGS)
def test_any_encoder_is_written(ending: str, name: str) -> None:
    """Each file is checked against the encoder before it is returned."""
    if ending == ".onnx":
        pytest.importorskip("onnxscript")
    assert len(encode_encoder(frozen(name), None, FORMATS[ending])) > 10_000


def test_decorrelation_matters_here() -> None:
    """Else nothing would be told by the tests of its folding, which allow 1e-5."""
    encoder = frozen()
    left = encoder.embed(images(8)).au
    taken = encoder.network.correlated(images(8)).au - left
    assert taken.std(0).min() > 0.01 * left.abs().max()
    assert taken.mean(0).abs().min() > 0.01 * left.abs().max()


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    ("preset", "embedding"), [("default", "au"), ("paper", None), ("official", "pose")]
)
def test_files_of_every_preset_take_any_number_of_images(
    ending: str, preset: str, embedding: str | None
) -> None:
    encoder = frozen(preset)
    probe = None if embedding is None else probe_of(encoder, embedding)
    content = file_of(preset, embedding, ending)
    run = FORMATS[ending].run(content)
    for count in (1, 2, 7):
        check(run(images(count)), truth(encoder, probe, images(count)), 1e-5)
    assert list(description_in(content, ending)["units"]) == list(UNITS if probe else ())
    # Nothing of the machine it was made on, nor notes as large as the weights.
    assert str(Path(tcae.__file__).parent).encode() not in content
    assert b"site-packages" not in content
    weights = 4 * sum(values.numel() for values in encoder.network.state_dict().values())
    assert len(content) < weights + 150_000


def description_in(content: bytes, ending: str) -> dict[str, object]:
    """The description, read without our code."""
    if ending == ".pt2":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            (name,) = [n for n in archive.namelist() if n.endswith("extra/tcae")]
            return json.loads(archive.read(name))
    import onnx

    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    # Operators of the standard alone, no notes on each, and no second file.
    assert {node.domain for node in model.graph.node} == {""}
    assert not any(node.metadata_props for node in model.graph.node)
    assert {tensor.data_location for tensor in model.graph.initializer} == {0}
    return json.loads({entry.key: entry.value for entry in model.metadata_props}["tcae"])


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_description_tells_how_to_show_faces(ending: str) -> None:
    encoder, probe = frozen(), probe_of(frozen())
    found = description_in(file_of("default", "au", ending), ending)
    assert found == {
        "tcae_version": found["tcae_version"],
        "encoder": encoder.fingerprint,
        "image_size": SIDE,
        "crop": 0.8,
        "template": DEFAULT_TEMPLATE.to_dict(),
        "embedding_size": 6,
        "pose_size": 5,
        "units": list(UNITS),
        "thresholds": [0.5] * 3,
    }
    assert found == describe(encoder, probe)


def test_opencv_reads_the_au_embedding(tmp_path: Path) -> None:
    encoder = frozen()
    path = tmp_path / "encoder.onnx"
    path.write_bytes(file_of("default", "au", ".onnx"))
    network = NetworkFile(path, SIDE)
    for count in (3, 1):
        wanted = encoder.embed(images(count)).au
        found = network.embed(images(count))
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))


def test_a_difference_is_a_share_of_the_outputs_greatest_value() -> None:
    encoder, probe = frozen(), probe_of(frozen())

    def run(pictures: Tensor) -> dict[str, Tensor]:
        outputs = truth(encoder, probe, pictures)
        if len(pictures) == 3:  # one number of one image
            outputs["pose"] = outputs["pose"].clone()
            outputs["pose"][1, 2] += 0.25 * outputs["pose"].abs().max()
            outputs["probabilities"] = outputs["probabilities"] * float("nan")
        return outputs

    found = differences(run, encoder, probe)
    assert found["au"] == 0 and found["pose"] == pytest.approx(0.25)
    assert np.isnan(found["probabilities"])


def test_a_file_that_computes_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = frozen().network.decorrelation.prediction()  # type: ignore[union-attr]
    layer.bias.data[0] += 1e-3 * float(frozen().embed(images(8)).au.abs().max())
    monkeypatch.setattr(Decorrelation, "prediction", lambda _: layer)
    with pytest.raises(
        ValueError, match=r"au of torch\.export differs .* at most 1e-04 is allowed"
    ):
        encode_encoder(frozen(), None, FORMATS[".pt2"])


def test_not_a_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = frozen().network.decorrelation.prediction()  # type: ignore[union-attr]
    layer.bias.data[0] = float("nan")
    monkeypatch.setattr(Decorrelation, "prediction", lambda _: layer)
    with pytest.raises(ValueError, match=r"au of torch\.export differs from the encoder's by nan"):
        encode_encoder(frozen(), None, FORMATS[".pt2"])


def test_a_probe_of_another_encoder_is_refused() -> None:
    with pytest.raises(ValueError, match="--probe: it was trained on the encoder"):
        ExportedEncoder(frozen(), probe_of(frozen("paper")))
