from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from tcae.data.synthetic.packed import world_of
from tcae.data.synthetic.world import World
from tcae.evaluation.linear_probe import LinearProbe, load_probe
from tcae.measuring.trained import Trained, built_in_world, load_trained, save_trained
from tcae.models.encoder import Encoder
from tcae.models.encoder_file import FrozenEncoder, load_encoder
from tcae.models.twin_cycle import TwinCycle
from tcae.objectives.twin_cycle import TwinCycleObjective
from tcae.training.checkpoints import CheckpointFolder
from tcae.training.config import load_config


@pytest.fixture
def trained(rendered_run: Path) -> Trained:
    return load_trained(rendered_run)


@pytest.fixture
def saved(trained: Trained, rendered_run: Path, tmp_path: Path) -> Path:
    save_trained(tmp_path / "saved", trained, load_probe(rendered_run))
    return tmp_path / "saved"


def pictures(trained: Trained) -> dict[str, torch.Tensor]:
    source, target = torch.rand((2, 6, 3, 32, 32), generator=torch.Generator().manual_seed(3))
    return trained.objective.pictures(source, target)._asdict()


def test_a_run_is_loaded_as_it_was_trained(trained: Trained, rendered_run: Path) -> None:
    found = CheckpointFolder(rendered_run / "checkpoints").latest()
    assert found is not None
    own = trained.objective.model.state_dict()
    assert own.keys() == found[1]["model"].keys()
    assert all(torch.equal(own[name], tensor) for name, tensor in found[1]["model"].items())
    assert not trained.objective.training
    assert trained.world == world_of(rendered_run.parent / "world")
    assert trained.encoder.fingerprint == load_encoder(rendered_run).fingerprint


def test_what_is_saved_does_the_same_up_to_rounding(trained: Trained, saved: Path) -> None:
    again = load_trained(saved)
    for name, picture in pictures(again).items():
        # Half precision keeps 11 bits.
        torch.testing.assert_close(picture, pictures(trained)[name], atol=2e-3, rtol=2e-3)
    assert again.world == trained.world
    assert again.encoder.template == trained.encoder.template
    assert again.encoder.crop == trained.encoder.crop


def test_another_encoder_ships_alike(trained: Trained, rendered_run: Path, tmp_path: Path) -> None:
    model = replace(trained.config.model, encoder="residual")
    config = replace(trained.config, model=model)
    torch.manual_seed(0)
    twin = TwinCycle(Encoder(model, config.image_size))
    other = replace(
        trained,
        objective=TwinCycleObjective(twin, config.objective).eval(),
        encoder=FrozenEncoder(twin.encoder, trained.encoder.template, trained.encoder.crop),
        config=config,
    )
    probe = load_probe(rendered_run)
    probe.encoder = other.encoder.fingerprint
    save_trained(tmp_path / "other", other, probe)
    again = load_trained(tmp_path / "other")
    assert again.config.model.encoder == "residual"
    for name, picture in pictures(again).items():
        torch.testing.assert_close(picture, pictures(other)[name], atol=2e-3, rtol=2e-3)


def test_kernels_are_halved_and_vectors_and_statistics_are_not(saved: Path) -> None:
    for name in ("encoder", "decoders"):
        with safe_open(saved / f"{name}.safetensors", framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        assert len(tensors) > 10
        for key, tensor in tensors.items():
            if tensor.is_floating_point():
                statistic = tensor.ndim == 1 or key.startswith("decorrelation.")
                expected = torch.float32 if statistic else torch.float16
                assert tensor.dtype == expected, key


def test_the_probe_belongs_to_the_rounded_encoder(saved: Path, rendered_run: Path) -> None:
    before, after = load_probe(rendered_run), load_probe(saved)
    assert after.encoder == load_encoder(saved).fingerprint != before.encoder
    features = np.random.default_rng(0).random((4, 8), np.float32)
    np.testing.assert_array_equal(after.scores(features), before.scores(features))
    np.testing.assert_array_equal(after.probabilities(features), before.probabilities(features))


def test_no_path_of_this_machine_is_told(saved: Path, rendered_run: Path) -> None:
    config = load_config(saved)
    assert (config.data, config.out, config.init_from) == (None, None, None)
    for path in saved.rglob("*"):
        if path.is_file():
            assert str(rendered_run.parent).encode() not in path.read_bytes(), path


def test_saving_again_changes_nothing(saved: Path, tmp_path: Path) -> None:
    save_trained(tmp_path / "again", load_trained(saved), load_probe(saved))
    for path in saved.rglob("*.safetensors"):
        assert path.read_bytes() == (tmp_path / "again" / path.relative_to(saved)).read_bytes()


def test_what_cannot_be_saved(trained: Trained, rendered_run: Path, tmp_path: Path) -> None:
    probe, folder = load_probe(rendered_run), tmp_path / "saved"
    with pytest.raises(ValueError, match="probe: is of the encoder another"):
        save_trained(folder, trained, LinearProbe(8, ["AU12"], encoder="another"))
    with pytest.raises(ValueError, match="need a model of rendered people"):
        save_trained(folder, replace(trained, world=None), probe)
    with torch.no_grad():
        trained.objective.model.au_decoder.motion[1].weight[0, 0, 0, 0] = 7e4
    with pytest.raises(ValueError, match=r"au_decoder\.motion\.1\.weight: .* too large"):
        save_trained(folder, trained, probe)


def test_parts_that_do_not_fit_are_refused(rendered_run: Path, saved: Path, tmp_path: Path) -> None:
    run = shutil.copytree(rendered_run, tmp_path / "copy")
    shutil.copy(saved / "encoder.safetensors", run)  # as if training had gone on since
    with pytest.raises(ValueError, match="is not of the last checkpoint"):
        load_trained(run)
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(FileNotFoundError, match="holds neither a checkpoint nor decoders"):
        load_trained(run)
    with pytest.raises(FileNotFoundError, match="nowhere: no such encoder file"):
        load_trained(tmp_path / "nowhere")


def test_the_built_in_world_is_as_large_as_the_images() -> None:
    usual = World()
    assert built_in_world(32) == usual
    assert built_in_world(2 * usual.image_size) == replace(usual, image_size=2 * usual.image_size)
