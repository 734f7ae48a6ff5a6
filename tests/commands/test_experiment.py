from __future__ import annotations

import csv
import json
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tcae import experiment as command
from tcae.data.synthetic.packed import world_of
from tcae.data.synthetic.world import World
from tcae.evaluation.linear_probe import ProbeConfig
from tcae.evaluation.unseen import UnseenConfig
from tcae.experiment import main
from tcae.experiments import experiment
from tcae.experiments.budget import Budget
from tcae.methods import training
from tcae.models.encoder_file import load_encoder

METHODS = ["--methods", "pixels", "resnet", "fab_net", "tcae", "tcae_fine_tuned"]


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """Every training is over after its first steps."""
    budget = Budget(64, None, 0.001, 0.001, None, ablation_size=32, pairs=70)
    monkeypatch.setitem(command.BUDGETS, "small", budget)
    monkeypatch.setitem(command.PRESETS, "default", replace(command.PRESETS["default"], steps=3))
    quick = partial(experiment.ProbeTrainer, config=ProbeConfig(steps=30, learning_rate=0.05))
    monkeypatch.setattr(experiment, "ProbeTrainer", quick)


@pytest.fixture
def argv(faces: Path, tmp_path: Path) -> list[str]:
    return ["bp4d", "--data", str(faces), "--out", str(tmp_path / "out"), "--device", "cpu"]


def rows(path: Path) -> dict[tuple[str, str], dict[str, str]]:
    with open(path) as file:
        return {(row["row"], row["source"]): row for row in csv.DictReader(file)}


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


def own_features(faces: Path, path: Path) -> Path:
    """A table of two features that say nothing."""
    names = (faces / "labels.csv").read_text().splitlines()[1:]
    lines = [f"{line.split(',')[0]},{i % 7},{i % 5}" for i, line in enumerate(names)]
    path.write_text("\n".join(["frame,a,b", *lines]))
    return path


def stopping(pair_batches, *args):
    """`pair_batches` of a training that is stopped in its fifth step."""
    batch_of = pair_batches(*args)

    def give(step):
        if step == 5 and args[2] == "train":
            signal.raise_signal(signal.SIGTERM)
        return batch_of(step)

    return give


def assert_tables_filled(out: Path) -> None:
    f1 = rows(out / "tables" / "f1.csv")
    assert f1["TCAE", "paper"]["ave"] == "0.561" and f1["JAA-Net", "paper"]["24"] == "0.419"
    for title in (
        "always present",
        "mine",
        "raw pixels",
        "ResNet",
        "Fab-Net",
        "TCAE",
        "TCAE, fine-tuned",
    ):
        assert 0 <= float(f1[title, "ours"]["ave"]) <= 1
    assert " ".join(list(f1["TCAE", "ours"])[3:-2]) == "1 2 4 6 7 10 12 14 15 17 23 24 ave"
    stems = {path.stem for path in (out / "tables").iterdir()}
    assert stems == {
        *("f1", "auc", "few_labels", "figure5", "ablation"),
        *("transfer_f1", "transfer_auc"),
    }
    assert len(rows(out / "tables" / "few_labels.csv")) == 4
    assert len(rows(out / "tables" / "ablation.csv")) >= 6
    # Tested on the frames it learned from, which another data set would not be.
    assert float(rows(out / "tables" / "transfer_auc.csv")["raw pixels", "ours"]["ave"]) > 0.9


def assert_figures_drawn(out: Path) -> None:
    lengths = json.loads((out / "figures" / "figure5.json").read_text())
    assert len(lengths["AU"]) == len(lengths["pose"]) == 70
    mean = float(rows(out / "tables" / "figure5.csv")["TCAE", "ours"]["AU"])
    assert mean == pytest.approx(np.mean(lengths["AU"]), rel=1e-4)
    figures = {path.name for path in (out / "figures").iterdir()}
    assert {"figure4.png", "figure5.svg", "few_labels.svg"} <= figures


def test_fills_every_row_and_figure_and_goes_on_after_a_kill(
    argv, faces, tmp_path, capsys, monkeypatch
):
    out = tmp_path / "out"
    features = own_features(faces, tmp_path / "mine.csv")
    argv += [*METHODS, "--features", f"mine={features}", "--transfer", str(faces)]
    with monkeypatch.context() as patch:
        patch.setattr(training, "pair_batches", partial(stopping, training.pair_batches))
        assert main(argv) == 128 + signal.SIGTERM
    said = capsys.readouterr().out
    assert "goes on from here" in said and "[1/" in said and " min left" in said
    done = contents(out / "predictions")
    assert set(done) == {"mine.npy", "pixels.npy", "resnet.npy"}

    assert main(argv) == 0
    after = contents(out / "predictions")
    assert {name: after[name] for name in done} == done
    assert {"fab_net.npy", "tcae.npy", "tcae_fine_tuned.npy"} <= set(after)
    assert "[1/" not in capsys.readouterr().out
    assert load_encoder(out / "runs" / "ablation-no_l1").image_size == 32
    assert load_encoder(out / "runs" / "tcae").image_size == 64
    assert_tables_filled(out)
    assert_figures_drawn(out)

    before = contents(out / "tables")
    assert main(argv) == 0  # nothing is left to do
    assert contents(out / "tables") == before


def test_a_run_of_tcae_can_be_given_and_gft_tests_one_part(faces, tmp_path, argv):
    first = [*argv, "--methods", "tcae", "--no-ablation"]
    assert main(first) == 0
    run = tmp_path / "out" / "runs" / "tcae"
    people = {line.split(",")[1] for line in (faces / "labels.csv").read_text().splitlines()[1:]}
    folds = tmp_path / "folds.csv"
    lines = [f"{name},{'ab'[i % 2]}" for i, name in enumerate(sorted(people))]
    folds.write_text("\n".join(["subject,fold", *lines]))
    other = ["gft", "--data", str(faces), "--out", str(tmp_path / "other"), "--device", "cpu"]
    other += ["--methods", "tcae", "--encoder", str(run), "--folds", str(folds)]
    assert main([*other, "--no-ablation"]) == 0
    assert not (tmp_path / "other" / "runs").exists()
    table = rows(tmp_path / "other" / "tables" / "f1.csv")
    assert " ".join(list(table["TCAE", "ours"])[3:-2]) == "1 2 4 6 10 12 14 15 23 24 ave"
    assert (tmp_path / "other" / "figures" / "figure4.png").exists()


def test_another_experiment_in_the_same_place_is_refused(argv, tmp_path, capsys):
    assert main([*argv, "--methods", "pixels", "--no-ablation"]) == 0
    assert main([*argv, "--methods", "pixels", "--no-ablation", "--seed", "1"]) == 2
    assert "holds an experiment with another --seed" in capsys.readouterr().err
    assert main([*argv, "--methods", "pixels", "--no-ablation", "--folds", "4"]) == 2
    assert "holds an experiment with other labels or folds" in capsys.readouterr().err
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    assert main([*argv, "--out", str(tmp_path / "full")]) == 2
    assert "not empty, and not an experiment" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--methods", "tcae_fine_tuned"], "tcae_fine_tuned starts from tcae"),
        (["--methods", "sift"], "--methods: 'sift' is none of pixels, random_weights"),
        (["--networks", "vgg=a.onnx"], "NAME=FILE@SIDE is needed"),
        (["--networks", "vgg=none.onnx@224"], "none.onnx: no such network file"),
        (["--features", "tcae=a.csv"], "NAME=FILE is needed, with a new name"),
        (["--data", "nowhere"], "nowhere"),
        (["--folds", "77"], "77 folds need as many labelled subjects"),
    ],
)
def test_bad_options_are_one_line_and_status_2(argv, capsys, change, message):
    words = [*argv, "--methods", "pixels", "--no-ablation", *change]
    assert main(words) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(errors) == 1 and message in errors[0]


def test_labelled_sets_need_their_frames_and_the_synthetic_world_does_not(capsys, faces):
    assert main(["disfa"]) == 2
    assert "--data: disfa needs its packed frames" in capsys.readouterr().err
    assert main(["synthetic", "--data", str(faces)]) == 2
    assert "synthetic renders its own" in capsys.readouterr().err


def test_the_synthetic_world_is_judged_on_other_people_and_in_another_world(monkeypatch, tmp_path):
    world = World(identities=14, videos=1, frames=4, image_size=32)
    monkeypatch.setattr(command, "built_in_world", lambda image_size: world)
    monkeypatch.setattr(command, "_JUDGED", UnseenConfig(people=9))
    monkeypatch.setattr(command, "_OTHERS", UnseenConfig(people=6, seed=1))
    out = tmp_path / "out"
    words = ["--out", str(out), "--device", "cpu", "--methods", "pixels", "--no-ablation"]
    assert main(words) == 0
    worlds = [world_of(path) for path in sorted((tmp_path / "data").iterdir())]
    assert sorted(w.identities for w in worlds) == [6, 9, 14]
    assert len({w.seed for w in worlds}) == 3
    assert {w.identities for w in worlds if w.motion.yaw > world.motion.yaw} == {6}
    captions = {s: (out / "tables" / f"{s}.md").read_text() for s in ("f1", "transfer_auc")}
    assert "synthetic: 36 frames of 9 subjects, 3 folds" in captions["f1"]
    assert "24 frames of 6 subjects" in captions["transfer_auc"]
    assert "(paper)" not in captions["f1"]
