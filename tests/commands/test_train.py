from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tcae import train
from tcae.data.shards import PackedDataset
from tcae.data.splits import split_of
from tcae.data.synthetic.world import World
from tcae.models.encoder_file import load_encoder
from tcae.training.checkpoints import CheckpointFolder
from tcae.training.config import load_config
from tcae.training.run_directory import lock_run
from tcae.weights import FOLDER

TINY = {
    "image-size": 32,
    "batch-size": 4,
    "device": "cpu",
    "model.base-filters": 4,
    "model.embedding-size": 8,
    "objective.ramp-start": 3,
    "objective.ramp-steps": 3,
    "validation.every": 4,
    "validation.pairs": 4,
    "validation.panel-pairs": 2,
    "logbook.every": 3,
    "steps": 6,
}


@pytest.fixture(scope="module")
def unlabelled(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Faces of which nothing is known, so nothing is probed."""
    folder = tmp_path_factory.mktemp("data") / "unlabelled"
    shutil.copytree(faces, folder)
    (folder / "labels.csv").unlink()
    return folder


@pytest.fixture
def argv(unlabelled: Path, tmp_path: Path) -> list[str]:
    options = {**TINY, "data": unlabelled, "out": tmp_path / "run"}
    return [word for name, value in options.items() for word in (f"--{name}", str(value))]


def start(argv: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tcae.train", *argv],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def weights(run: Path) -> dict[str, torch.Tensor]:
    latest = CheckpointFolder(run / "checkpoints").latest()
    assert latest is not None
    return latest[1]["model"]


def metrics(run: Path) -> list[tuple[str, int, float]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [(line["kind"], line["step"], line["loss"]) for line in lines]


def assert_same_outcome(one: Path, other: Path) -> None:
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []
    assert metrics(one) == metrics(other)
    assert load_encoder(one).fingerprint == load_encoder(other).fingerprint


# kill -9 ------------------------------------------------------------------------------------------


class Killed:
    """Starts training processes and kills them; a server that has imported torch forks them."""

    def __init__(self) -> None:
        self.context = get_context("forkserver")
        self.context.set_forkserver_preload(["tcae.train"])

    def start(self, argv: list[str]) -> ForkServerProcess:
        process = self.context.Process(target=train.main, args=(argv,))
        process.start()
        return process

    def after(self, run: Path, argv: list[str], new_checkpoints: int, delay: float) -> None:
        """Kill a run some time after it has written some checkpoints."""
        process, seen = self.start(argv), set(names(run))
        while process.is_alive() and len(set(names(run)) - seen) < new_checkpoints:
            time.sleep(0.001)
        time.sleep(delay)
        process.kill()
        process.join()

    def while_writing(self, run: Path, argv: list[str]) -> None:
        """Kill a run while a checkpoint is half written."""
        process = self.start(argv)
        while process.is_alive() and not any(name.endswith(".tmp") for name in names(run)):
            pass
        process.kill()
        process.join()


def names(run: Path) -> list[str]:
    try:
        return os.listdir(run / "checkpoints")
    except FileNotFoundError:
        return []


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Killed]:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield Killed()


def test_kill_9_at_any_moment_costs_nothing(
    argv: list[str], tmp_path: Path, killed: Killed
) -> None:
    argv += ["--steps", "40", "--checkpoints.every", "1", "--checkpoints.keep", "50"]
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert train.main([*argv, "--out", str(whole)]) == 0
    argv += ["--resume", "auto"]
    chance = random.Random(0)
    for i in range(4):
        killed.after(run, [*argv, "--workers", str(i % 3)], 1 + i, chance.uniform(0, 0.1))
    for _ in range(2):
        killed.while_writing(run, argv)
    left = names(run)
    assert left, "nothing was written before the kills"
    assert f"step-{40:08d}.pt" not in left, "the run was over before the last kill"
    assert train.main(argv) == 0
    assert_same_outcome(whole, run)


def test_a_killed_worker_is_one_line_and_the_run_goes_on(argv: list[str], tmp_path: Path) -> None:
    argv += ["--steps", "100000", "--workers", "1", "--checkpoints.every", "2"]
    process = start(argv)
    while not any(name.startswith("step-") for name in names(tmp_path / "run")):
        assert process.poll() is None
        time.sleep(0.01)
    children = subprocess.run(
        ["ps", "--ppid", str(process.pid), "-o", "pid="], capture_output=True, text=True, check=True
    )
    os.kill(int(children.stdout.split()[0]), signal.SIGKILL)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 2
    assert errors.count("\n") == 1
    assert "a data worker died (" in errors
    assert "--resume auto goes on" in errors


def test_a_signal_leaves_a_checkpoint_and_says_how_to_go_on(
    argv: list[str], tmp_path: Path
) -> None:
    process = start([*argv, "--steps", "100000", "--workers", "1"])
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("step 3/"):
            break
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 128 + signal.SIGTERM
    assert errors == ""
    assert output.splitlines()[-1].endswith(f"go on with --out {tmp_path / 'run'} --resume auto")
    assert CheckpointFolder(tmp_path / "run" / "checkpoints").latest() is not None


def test_a_full_disk_is_one_line_and_earlier_checkpoints_stay(
    argv: list[str], tmp_path: Path
) -> None:
    # Checkpoints larger than everything else that is written.
    argv += ["--checkpoints.every", "2", "--model.base-filters", "16"]
    assert train.main(argv) == 0
    run = tmp_path / "run"
    kept = {path: path.read_bytes() for path in (run / "checkpoints").iterdir()}
    size = min(map(len, kept.values()))
    # No file may grow as large as a checkpoint: to the program it looks like a disk that fills up.
    limited = (
        f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({size - 999}, {size - 999}));"
        "import sys; from tcae.train import main; sys.exit(main())"
    )
    latest = run / "checkpoints" / "step-00000006.pt"
    latest.unlink()
    done = subprocess.run(
        [sys.executable, "-c", limited, *argv, "--resume", "auto"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    # Whichever comes first: the checkpoint of step 6, or the best one, if step 6 is the best.
    assert re.search(rf"{run}/checkpoints/(best|step-00000006).pt: File too large", done.stderr)
    assert [name for name in names(run) if name.endswith(".tmp")] == []
    del kept[latest]
    assert {path: path.read_bytes() for path in kept} == kept
    assert train.main([*argv, "--resume", "auto"]) == 0


def test_a_full_file_system_is_one_line_and_the_run_goes_on_with_more_room(
    argv: list[str], unlabelled: Path, tmp_path: Path
) -> None:
    argv += ["--checkpoints.every", "1", "--steps", "8"]
    whole, disk = tmp_path / "whole", tmp_path / "disk"
    assert train.main([*argv, "--out", str(whole)]) == 0
    checkpoint = max(p.stat().st_size for p in (whole / "checkpoints").iterdir())
    disk.mkdir()
    room = checkpoint * 5 // 2
    mount = ["mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        run = disk / "run"
        process = start([*argv, "--out", str(run)])
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 2
        assert errors.count("\n") == 1
        assert re.search(rf"{run}/\S*: No space left on device", errors)
        assert [name for name in names(run) if name.endswith(".tmp")] == []
        latest = CheckpointFolder(run / "checkpoints").latest()
        assert latest is not None and 0 < latest[1]["step"] < 8
        more = ["mount", "-o", f"remount,size={room * 9}", str(disk)]
        subprocess.run(more, check=True)
        assert train.main([*argv, "--out", str(run), "--resume", "auto"]) == 0
        assert_same_outcome(whole, run)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_damaged_index_is_named_and_the_other_shards_are_trained_on(
    argv: list[str], tmp_path: Path, pack_frames: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    data = pack_frames({(f"id{i}", f"v{i}", "0"): 3 for i in range(60)}, shards=3)
    index = data / "shards" / "0001.index"
    content = bytearray(index.read_bytes())
    content[-1] ^= 1
    index.write_bytes(content)
    assert train.main([*argv, "--data", str(data)]) == 1
    errors = capsys.readouterr().err
    assert f"{index}: damaged (its checksum does not match); this shard is left out\n" in errors
    # The other frames would make it another run.
    content[-1] ^= 1
    index.write_bytes(content)
    assert train.main([*argv, "--data", str(data), "--resume", "auto"]) == 2
    assert "other frames than the run was trained on" in capsys.readouterr().err


# What a user meets --------------------------------------------------------------------------------


def test_a_run_directory_holds_what_was_promised(argv: list[str], tmp_path: Path) -> None:
    assert train.main(argv) == 0
    found = {path.name.split(".")[0] for path in (tmp_path / "run").iterdir()}
    promised = "config metrics events checkpoints panels encoder summary report"
    assert found == set(promised.split())
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["steps"] == 6
    assert summary["recon_ratio"] > 0


def test_labelled_data_is_probed_on_people_not_trained_on(
    argv: list[str], faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main([*argv, "--data", str(faces)]) == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert 0 <= summary["au_auc"] <= 1
    unseen = sum(split_of(f"p{i:06d}") != "train" for i in range(40))
    assert (
        f"probing {4 * unseen} labelled frames of people not trained on" in capsys.readouterr().out
    )


def test_labels_that_cannot_be_used_do_not_cost_the_run(
    argv: list[str], faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labelled = tmp_path / "labelled"
    shutil.copytree(faces, labelled)
    lines = (faces / "labels.csv").read_text().splitlines()
    (labelled / "labels.csv").write_text("\n".join(lines[:5]))  # one person
    assert train.main([*argv, "--data", str(labelled)]) == 1
    assert "action units not probed: " in capsys.readouterr().err
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["steps"] == 6
    load_encoder(tmp_path / "run")


def test_it_refuses_to_overwrite(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert train.main(argv) == 0
    capsys.readouterr()
    assert train.main(argv) == 2
    errors = capsys.readouterr().err
    assert "--overwrite" in errors and "--resume" in errors
    assert errors.count("\n") == 1
    assert train.main([*argv, "--overwrite"]) == 0


def test_it_refuses_to_write_beside_another(
    argv: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tcae.files.durable._LOCK_SECONDS", 0.2)
    assert train.main(argv) == 0
    run = Path(argv[argv.index("--out") + 1])
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    capsys.readouterr()
    with lock_run(run):
        assert train.main([*argv, "--overwrite"]) == 2
    errors = capsys.readouterr().err
    assert errors == f"tcae.train: error: --out {run}: another process is training into it\n"
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_a_changed_flag_is_refused_by_name(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main(argv) == 0
    for flag, value in {"--optimizer.learning-rate": "0.5", "--batch-size": "5"}.items():
        capsys.readouterr()
        assert train.main([*argv, "--resume", "auto", flag, value]) == 2
        assert f"{flag}: the run has" in capsys.readouterr().err


def test_a_finished_run_is_extended_and_minutes_only_pause_it(
    argv: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    argv += ["--optimizer.warmup-steps", "0", "--logbook.every", "1", "--resume", "auto"]
    assert train.main(argv) == 0
    longer = [*argv, "--steps", "9"]
    assert train.main([*longer, "--minutes", "1e-9"]) == 128 + signal.SIGUSR1
    assert (run / "stopped").read_text() == "138\n"
    assert "stopped after step 7; go on with" in capsys.readouterr().out
    assert train.main(longer) == 0
    assert json.loads((run / "summary.json").read_text())["steps"] == 9
    assert not (run / "stopped").exists()
    config = load_config(run)
    assert (config.steps, config.minutes) == (9, None)
    # The learning rate is that of a run of nine steps: it ends where the cosine does.
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    rates = {line["step"]: line["learning_rate"] for line in lines if line["kind"] == "train"}
    last = config.optimizer.learning_rate * config.optimizer.final_share
    assert rates[6] == pytest.approx(last)
    assert rates[9] == pytest.approx(last)
    assert rates[7] > 2 * last
    assert train.main(argv) == 2
    assert "--steps: the run has 9" in capsys.readouterr().err


def test_a_start_that_fails_leaves_nothing_behind(
    argv: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "missing"
    assert train.main([*argv, "--data", str(missing)]) == 2
    assert str(missing) in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert train.main(argv) == 0


def test_unreadable_frames_are_named_and_the_run_finishes(
    argv: list[str], unlabelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(unlabelled, damaged)
    [shard] = (damaged / "shards").glob("*.bin")
    content = bytearray(shard.read_bytes())
    for offset in PackedDataset(damaged).frames["offset"][::4]:
        content[offset + 50] ^= 1
    shard.write_bytes(content)
    assert train.main([*argv, "--data", str(damaged)]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert len([line for line in errors if str(shard) in line]) >= 1
    assert "times a frame could not be read" in errors[-1]
    assert (tmp_path / "run" / "encoder.safetensors").exists()


@pytest.mark.parametrize("what", ["run", "checkpoint", "encoder"])
def test_init_from_takes_weights_and_nothing_else(
    argv: list[str], tmp_path: Path, what: str
) -> None:
    first, second = tmp_path / "run", tmp_path / "second"
    assert train.main(argv) == 0
    paths = {
        "run": first,
        "checkpoint": first / "checkpoints" / "best.pt",
        "encoder": first / "encoder.safetensors",
    }
    # One step at a learning rate that moves no weight shows what the run began with.
    still = ["--steps", "1", "--optimizer.learning-rate", "1e-30", "--optimizer.weight-decay", "0"]
    start_from = ["--out", str(second), "--init-from", str(paths[what]), "--seed", "9", *still]
    assert train.main([*argv, *start_from]) == 0
    before = torch.load(paths["checkpoint"])["model"] if what == "checkpoint" else weights(first)
    after = weights(second)
    statistics = ("running", "num_batches", "decorrelation")  # these follow the batches
    trained = [name for name in before if not any(word in name for word in statistics)]
    same = {name for name in trained if torch.equal(before[name], after[name])}
    if what == "encoder":
        assert {name for name in trained if name.startswith("encoder.")} <= same
        assert "au_decoder.start.0.weight" not in same
    else:
        assert same == set(trained)
    assert metrics(second)[0][1] == 1  # a run of its own, from step 0


def test_init_from_what_does_not_fit_names_the_tensor(
    argv: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main(argv) == 0
    wider = ["--out", str(tmp_path / "wider"), "--model.base-filters", "8"]
    for source in (tmp_path / "run", tmp_path / "run" / "encoder.safetensors"):
        capsys.readouterr()
        assert train.main([*argv, *wider, "--init-from", str(source)]) == 2
        errors = capsys.readouterr().err
        assert "need shape (8, 3, 4, 4), got (4, 3, 4, 4)" in errors
        assert errors.count("\n") == 1
    assert train.main([*argv, *wider, "--init-from", str(tmp_path / "none.pt")]) == 2
    assert "none.pt: no such checkpoint" in capsys.readouterr().err
    assert not (tmp_path / "wider").exists()


def test_init_from_a_name_trains_on_weights_that_ship(unlabelled: Path, tmp_path: Path) -> None:
    shipped = {"init-from": "synthetic-64", "image-size": 64, "steps": 1}
    still = {"optimizer.learning-rate": 1e-30, "optimizer.weight-decay": 0}
    options = {name: value for name, value in TINY.items() if not name.startswith("model.")}
    options |= {"data": unlabelled, "out": tmp_path / "run", **shipped, **still}
    assert train.main([word for k, v in options.items() for word in (f"--{k}", str(v))]) == 0
    decoders = load_file(FOLDER / "synthetic-64" / "decoders.safetensors")
    after = weights(tmp_path / "run")
    trained = [name for name in decoders if name.endswith("weight")]
    assert len(trained) > 10
    # A weight of 0 moves by the rate.
    same = {
        name: torch.allclose(after[name], decoders[name].float(), rtol=0, atol=1e-20)
        for name in trained
    }
    assert all(same.values()), same


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--data", "nowhere"], "nowhere"),
        (["--init-from", "nowhere"], "--init-from nowhere: no such checkpoint"),
        (["--device", "abacus"], "--device abacus"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_is_printed_or_rendered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], error: str
) -> None:
    assert train.main(["--out", str(tmp_path / "runs" / "mine"), *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert error in captured.err and captured.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_without_data_a_world_is_rendered_once_measured_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(identities=12, videos=1, frames=4, image_size=32)
    monkeypatch.setattr("tcae.measuring.trained._BUILT_IN", world)
    options = {**TINY, "out": tmp_path / "run", "unseen.people": 8, "unseen.pairs": 5}
    argv = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    assert train.main(argv) == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    wanted = (
        "recon_ratio au_auc au_auc_random au_auc_pixels au_auc_fabnet pose_r2_from_pose "
        "pose_r2_from_au au_auc_from_pose flow_length_ratio flow_length_ratio_true "
        "au_flow_epe_gain pose_flow_epe_gain au_image_gain pose_image_gain au_f1"
    )
    assert set(wanted.split()) <= set(summary)
    assert summary["au_auc_low"] <= summary["au_auc"] <= summary["au_auc_high"]
    assert summary["pose_image_gain_exact"] > 0.1
    report = (tmp_path / "run" / "report.html").read_text()
    assert report.count("data:image/png") == 5 * 12  # flows in sequence have no masks
    assert "Pairs of people never seen" in report and "://" not in report
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*")}
    assert train.main([*argv, "--overwrite"]) == 0
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*")}


def test_a_short_training_beats_the_unmoved_source_on_people_never_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(identities=32, videos=1, frames=16, image_size=32)
    monkeypatch.setattr("tcae.measuring.trained._BUILT_IN", world)
    options = {
        "image-size": 32,
        "batch-size": 16,
        "device": "cpu",
        "steps": 250,
        "model.base-filters": 8,
        "model.embedding-size": 16,
        "optimizer.warmup-steps": 20,
        "unseen.people": 12,
        "unseen.pairs": 60,
        "unseen.fabnet": False,
        "out": tmp_path / "run",
    }
    assert train.main([word for k, v in options.items() for word in (f"--{k}", str(v))]) == 0
    found = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert found["recon_ratio_high"] < 0.9
    assert found["pose_image_gain_low"] > 0.1
    assert found["au_auc"] > found["au_auc_random"]
