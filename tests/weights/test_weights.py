from __future__ import annotations

import subprocess
import sys

import pytest
import torch

import tcae
from tcae import extract
from tcae.data.align import DEFAULT_TEMPLATE, AlignmentTemplate
from tcae.data.synthetic.packed import world_of
from tcae.evaluation.linear_probe import load_probe
from tcae.measuring.trained import load_trained, save_trained
from tcae.weights import FOLDER, find_weights, shipped


@pytest.fixture
def named(tmp_path, monkeypatch, rendered_run):
    """Weights called "mine" in a folder that stands for the package's."""
    folder = tmp_path / "package"
    save_trained(folder / "mine", load_trained(rendered_run), load_probe(rendered_run))
    (folder / "mine.md").write_text("# mine\n")
    (folder / "card-only.md").write_text("# nothing\n")
    monkeypatch.setattr("tcae.weights.FOLDER", folder)
    monkeypatch.chdir(tmp_path)
    return folder


def test_import_is_light():
    code = "import sys, tcae; print('torch' in sys.modules, tcae.load_encoder.__module__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False tcae.models.encoder_file\n"
    assert {"load_encoder", "load_probe"} <= set(dir(tcae))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        tcae.nothing  # noqa: B018


def test_a_name_is_found_and_used(named):
    assert shipped() == ["mine"]
    assert find_weights("mine") == named / "mine"
    encoder, probe = tcae.load_encoder("mine"), tcae.load_probe("mine")
    embeddings = encoder.embed(torch.rand(3, 3, 32, 32))
    values = probe.probabilities(embeddings.au.numpy())
    assert values.shape == (3, len(probe.names)) and "AU12" in probe.names
    assert probe.encoder == encoder.fingerprint
    assert AlignmentTemplate.from_dict(encoder.template) == DEFAULT_TEMPLATE


def test_extract_takes_names(named, tmp_path, write_video):
    video = write_video(tmp_path / "a.mp4", 3)
    argv = [str(video), "--aligned", "--encoder", "mine", "--probe", "mine", "--out", "t.csv"]
    assert extract.main([*argv, "--embeddings", "none"]) == 0
    header, *rows = (tmp_path / "t.csv").read_text().splitlines()
    assert "AU12_p" in header and len(rows) == 3


def test_what_lies_there_comes_first(named, tmp_path):
    (tmp_path / "mine").mkdir()
    assert str(find_weights("mine")) == "mine"
    assert str(find_weights("runs/mine")) == "runs/mine"


def test_an_unknown_name_is_answered_with_the_known_ones(named):
    with pytest.raises(FileNotFoundError, match=r"yours: no such.*nor weights that ship \(mine\)"):
        tcae.load_encoder("yours")
    with pytest.raises(ValueError, match="card-only: no such file"):
        tcae.load_probe("card-only")


@pytest.mark.parametrize("name", shipped())
def test_what_ships_is_whole(name):
    """Loads with today's code, has its card, and is small."""
    encoder, probe = tcae.load_encoder(name), tcae.load_probe(name)
    assert probe.encoder == encoder.fingerprint
    world_of(FOLDER / name)
    size = encoder.image_size
    embeddings = encoder.embed(torch.rand(2, 3, size, size))
    assert bool(torch.isfinite(embeddings.au).all() and torch.isfinite(embeddings.pose).all())
    files = [path for path in (FOLDER / name).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 5_000_000
    card = (FOLDER / f"{name}.md").read_text()
    for part in ("## Data", "## Recipe", "## Real faces", "## Licence"):
        assert part in card
    for path in files:
        assert f"`{path.relative_to(FOLDER / name).as_posix()}` {path.stat().st_size:,}" in card


@pytest.mark.parametrize("name", [name for name in shipped() if name.startswith("synthetic")])
def test_what_was_pretrained_can_be_measured_again(name):
    trained = load_trained(name)
    assert trained.world == world_of(FOLDER / name)
    assert "## Measures" in (FOLDER / f"{name}.md").read_text()
