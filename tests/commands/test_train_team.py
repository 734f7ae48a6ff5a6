"""Training with two processes: the same run as with one, whatever happens to one of them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tcae import train
from tcae.data.shards import PackedDataset
from tcae.distributed.team import combine_fingerprints, local_batch_size
from tcae.training.checkpoints import CheckpointFolder

OPTIONS = {
    "image-size": 32,
    "batch-size": 4,
    "device": "cpu",
    "model.base-filters": 4,
    "model.embedding-size": 8,
    "objective.ramp-start": 2,
    "objective.ramp-steps": 2,
    # Each process counts its own pairs, of which there are 2.
    "objective.twin-every": 2,
    "objective.shrink-validation": True,
    "curriculum.windows": "0 0.5 0.25 0.75 0.5 1",
    "curriculum.patience": 1,
    "optimizer.warmup-steps": 2,
    "optimizer.precision": "fp32",
    # Some biases do not move contrast: their gradient is rounding, which AdamW scales to full
    # steps. That its values and gradients are the same is tested where there is no optimiser.
    "objective.contrast": 0,
    # Moves other faces than in one process.
    "objective.transfer": 0,
    "validation.every": 3,
    "validation.pairs": 8,
    "validation.panel-pairs": 2,
    "logbook.every": 2,
    "checkpoints.every": 2,
    "checkpoints.keep": 9,
    "seed": 2,
    "steps": 8,
}
Run = Callable[..., list[tuple[int, str, str]]]


@pytest.fixture(scope="module")
def data(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Faces of which nothing is known, so nothing is probed."""
    folder = tmp_path_factory.mktemp("data") / "unlabelled"
    shutil.copytree(faces, folder, ignore=shutil.ignore_patterns("labels.csv"))
    return folder


@pytest.fixture(scope="module")
def options(data: Path) -> list[str]:
    words = [w for k, v in OPTIONS.items() for w in (f"--{k}", *str(v).split())]
    return [*words, "--data", str(data)]


@pytest.fixture
def argv(options: list[str]) -> list[str]:
    return list(options)


@pytest.fixture(scope="module")
def results_and_whole(
    options: list[str], tmp_path_factory: pytest.TempPathFactory, run_team: Run
) -> tuple[list[tuple[int, str, str]], Path]:
    """A run of two processes that nothing disturbed, and what they said."""
    out = tmp_path_factory.mktemp("team") / "whole"
    results = run_team(["-m", "tcae.train", *options, "--out", str(out)], 2)
    assert [result[0] for result in results] == [0, 0], results
    return results, out


@pytest.fixture
def whole(results_and_whole: tuple[object, Path]) -> Path:
    return results_and_whole[1]


def lines(run: Path) -> list[dict[str, float]]:
    timing = ("images_per_second", "tflop_per_second", "data_wait_share", "peak_memory_mb")
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in timing} for line in found]


def weights(run: Path) -> dict[str, torch.Tensor]:
    latest = CheckpointFolder(run / "checkpoints").latest()
    assert latest is not None and latest[1]["step"] == 8
    return latest[1]["model"]


def assert_same_bits(one: Path, other: Path) -> None:
    a, b = weights(one), weights(other)
    assert [name for name in a if not torch.equal(a[name], b[name])] == []
    assert lines(one) == lines(other)


def assert_same_curves(one: Path, other: Path) -> None:
    for a, b in zip(lines(one), lines(other), strict=True):
        assert a.keys() == b.keys()
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-5)
        # Each value of an embedding's statistics alone is far smaller than what it is made of.
        assert a.pop("kind") == b.pop("kind")
        assert a == pytest.approx(b, rel=1e-3, abs=1e-5)


def test_two_processes_give_the_loss_curve_of_one(
    argv: list[str], tmp_path: Path, results_and_whole: tuple[list[tuple[int, str, str]], Path]
) -> None:
    ((first, second), two), one = results_and_whole, tmp_path / "one"
    assert train.main([*argv, "--out", str(one)]) == 0
    assert_same_curves(one, two)
    assert {line.get("window_low") for line in lines(two)} >= {0.0, 0.25}  # the window moved
    # The first one writes and speaks.
    assert "in 2 processes, 2 pairs each" in first[1]
    assert second[1] == ""
    assert {path.name.split(".")[0] for path in two.iterdir()} == {
        path.name.split(".")[0] for path in one.iterdir()
    }
    summaries = [json.loads((run / "summary.json").read_text()) for run in (one, two)]
    for name, value in summaries[0].items():  # also what is measured after the last step
        if "second" not in name and name not in ("minutes", "data_wait_share", "peak_memory_mb"):
            assert summaries[1][name] == pytest.approx(value, rel=1e-3, abs=1e-4), name


def test_all_processes_probe_as_one_does(
    argv: list[str], faces: Path, tmp_path: Path, run_team: Run
) -> None:
    run = tmp_path / "run"
    argv += ["--data", str(faces), "--out", str(run), "--steps", "4", "--resume", "auto"]
    results = run_team(["-m", "tcae.train", *argv], 2)
    assert [result[0] for result in results] == [0, 0], results
    together = json.loads((run / "summary.json").read_text())
    assert train.main(argv) == 0  # nothing is left to do but to measure
    alone = json.loads((run / "summary.json").read_text())
    found = {name for name in alone if name.startswith("au_")}
    assert {"au_f1", "au_auc", "au_auc_random", "au_auc_pixels", "au_auc_from_pose"} <= found
    for name in found:
        assert together[name] == pytest.approx(alone[name], rel=1e-3, abs=1e-4), name


# In the fifth step of a run that was not resumed something happens to the second process.
HAPPENS = """
import os, signal, sys
from tcae.training.trainer import Trainer
from tcae.distributed import ranks
from tcae.train import main

learn = Trainer._learn

def disturbed(self, batch, waited):
    first_time = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"
    if self.step == 4 and ranks.rank() == 1 and first_time:
        HAPPENS
    return learn(self, batch, waited)

Trainer._learn = disturbed
sys.exit(main())
"""


def test_a_signal_to_one_process_stops_all_and_the_run_goes_on_exactly(
    argv: list[str], tmp_path: Path, run_team: Run, whole: Path
) -> None:
    run = tmp_path / "run"
    repeated = "[os.kill(os.getpid(), signal.SIGUSR1) for _ in range(3)]"  # as launchers do
    command = [
        "-c",
        HAPPENS.replace("HAPPENS", repeated),
        *argv,
        "--out",
        str(run),
        "--resume=auto",
    ]
    results = run_team(command, 2)
    assert [result[0] for result in results] == [128 + signal.SIGUSR1] * 2, results
    assert results[0][1].endswith(f"go on with --out {run} --resume auto\n")
    assert CheckpointFolder(run / "checkpoints").latest()[1]["step"] == 5  # type: ignore[index]
    for _ in range(2):  # the second time there is nothing left to do
        results = run_team(command, 2)
        assert [result[0] for result in results] == [0, 0], results
        assert_same_bits(whole, run)


def test_a_run_goes_on_with_another_number_of_processes(
    argv: list[str], tmp_path: Path, whole: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    checkpoint = run / "checkpoints" / "step-00000004.pt"
    assert train.main([*argv, "--out", str(run), "--resume", str(checkpoint)]) == 0
    assert_same_curves(whole, run)
    a, b = weights(whole), weights(run)
    assert not all(torch.equal(a[name], b[name]) for name in a)  # other processes, other last bits


def test_kill_9_of_a_process_costs_nothing_under_torchrun(
    argv: list[str], tmp_path: Path, whole: Path
) -> None:
    run, script = tmp_path / "run", tmp_path / "dies.py"
    script.write_text(HAPPENS.replace("HAPPENS", "os.kill(os.getpid(), signal.SIGKILL)"))
    torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1"]
    done = subprocess.run(
        [sys.executable, "-m", *torchrun, str(script), *argv, "--out", str(run), "--resume=auto"],
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",  # docs/scale.md says why
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"in 2 processes, .* steps, from step [24]", done.stdout)) == 1
    assert_same_bits(whole, run)


def test_who_is_left_says_that_another_process_died(
    argv: list[str], tmp_path: Path, start_team: Callable[..., list[subprocess.Popen[str]]]
) -> None:
    run = tmp_path / "run"
    argv += ["--steps", "100000", "--out", str(run)]
    team = start_team(["-m", "tcae.train", *argv], 2)
    while not (run / "checkpoints").exists():
        assert team[0].poll() is None
        time.sleep(0.001)
    team[1].kill()
    _, errors = team[0].communicate(timeout=600)
    assert team[0].returncode == 2
    assert errors.count("\n") == 1, errors
    assert "error: another process of the run died or cannot be reached (" in errors
    assert "--resume auto goes on from the last checkpoint" in errors
    assert CheckpointFolder(run / "checkpoints").latest() is not None


def test_who_waits_for_a_stopped_process_says_which_one_it_is(
    argv: list[str], tmp_path: Path, start_team: Callable[..., list[subprocess.Popen[str]]]
) -> None:
    run = tmp_path / "run"
    argv += ["--steps", "100000", "--out", str(run), "--timeout", "8", "--batch-size", "6"]
    team = start_team(["-m", "tcae.train", *argv], 3)
    while not (run / "checkpoints").exists():
        assert team[0].poll() is None
        time.sleep(0.001)
    team[1].send_signal(signal.SIGSTOP)
    for waiting in (team[0], team[2]):
        _, errors = waiting.communicate(timeout=600)
        assert waiting.returncode == 2
        assert errors.count("\n") == 1, errors
        assert "error: process 1 of the run does not answer (" in errors
    assert CheckpointFolder(run / "checkpoints").latest() is not None


# torch's threads abort a process that ends, now and then; here something always does.
ABORTS = """
import atexit, os, sys
from tcae.train import main
from tcae.training.trainer import Trainer

atexit.register(os.abort)
if sys.argv.pop(1) == "bug":
    Trainer.fit = lambda self: 1 // 0
sys.exit(main())
"""


@pytest.mark.parametrize(
    ("how", "words", "status"),
    [
        ("error", ["--batch-size", "5"], 2),
        ("bug", [], 1),
    ],
)
def test_a_process_of_a_team_ends_with_its_status_whatever_torch_leaves_behind(
    argv: list[str], tmp_path: Path, run_team: Run, how: str, words: list[str], status: int
) -> None:
    argv += [*words, "--out", str(tmp_path / "run")]
    for found, _, errors in run_team(["-c", ABORTS, how, *argv], 2):
        assert found == status
        assert ("ZeroDivisionError" in errors) == (how == "bug")


# In the second process the fifth step's pictures are not finite.
BREAKS = """
import sys, torch
from tcae.training.trainer import Trainer
from tcae.distributed import ranks
from tcae.train import main

learn = Trainer._learn

def broken(self, batch, waited):
    if self.step in (4, 5) and ranks.rank() == 1:
        batch = batch | {"target": batch["target"] * torch.nan}
    return learn(self, batch, waited)

Trainer._learn = broken
sys.exit(main())
"""


def test_all_processes_skip_a_step_that_is_not_finite_in_one(
    argv: list[str], tmp_path: Path, run_team: Run, whole: Path
) -> None:
    run = tmp_path / "run"
    # Without common statistics the first process's own losses are finite.
    argv += ["--no-sync-batch-norm", "--out", str(run)]
    results = run_team(["-c", BREAKS, *argv], 2)
    assert [result[0] for result in results] == [0, 0], results
    # The curves of one and two processes that share statistics agree to 1e-5.
    assert lines(run)[0]["loss"] != pytest.approx(lines(whole)[0]["loss"], rel=2e-5)
    assert json.loads((run / "summary.json").read_text())["skipped_steps"] == 2
    assert all(tensor.isfinite().all() for tensor in weights(run).values())
    assert sorted(path.name for path in (run / "not-finite").iterdir()) == [
        f"step-{step:08d}-process-{rank}.pt" for step in (5, 6) for rank in (0, 1)
    ]
    assert "tcae.train (process 1): warning: step 5: not finite: rec" in results[1][2]
    results = run_team(["-c", BREAKS, *argv, "--overwrite", "--max-skipped", "1"], 2)
    assert [result[0] for result in results] == [2, 2]
    assert "stopped after 1 skipped steps" in results[0][2]


def test_a_batch_that_cannot_be_shared_out_is_refused(
    argv: list[str], tmp_path: Path, run_team: Run
) -> None:
    argv += ["--batch-size", "5", "--out", str(tmp_path / "run")]
    for status, _, errors in run_team(["-m", "tcae.train", *argv], 2):
        assert status == 2
        assert "--batch-size 5: is shared out evenly by 2 processes, choose 4 or 6" in errors
    assert not (tmp_path / "run").exists()


def test_alone_a_batch_and_a_fingerprint_are_its_own(data: Path) -> None:
    assert local_batch_size(5) == 5
    assert combine_fingerprints("ab" * 32) == "ab" * 32


def test_processes_that_hold_different_shards_know_it(run_team: Run) -> None:
    """As on machines that keep a part of the shards each; in whatever order they are counted."""
    script = (
        "import sys, torch.distributed as dist;"
        "from tcae.distributed.team import combine_fingerprints;"
        "from tcae.distributed import ranks; dist.init_process_group('gloo');"
        "print(combine_fingerprints(sys.argv[1 + ranks.rank()])); dist.destroy_process_group()"
    )
    a, b = "ab" * 32, "0c" * 32
    found = {
        pair: {result[1].strip() for result in run_team(["-c", script, *pair], 2)}
        for pair in [(a, a), (a, b), (b, a)]
    }
    assert found[a, a] == {a}
    assert found[a, b] == found[b, a]
    assert len(found[a, b]) == 1 and not found[a, b] & {a, b, ""}


def test_a_share_of_the_shards_is_shuffled_as_well(
    data: Path, pack_frames: Callable[..., Path]
) -> None:
    """Each pair lies in one shard, so any set of shards gives pairs of all the people in it."""
    from tcae.data.pairs import PairBatches

    clips = {(f"id{i:02d}", f"v{i}-{k}", "0"): 4 for i in range(24) for k in range(2)}
    full = pack_frames(clips, shards=4)
    for name in ("0001", "0003"):
        (full / "shards" / f"{name}.index").unlink()
        (full / "shards" / f"{name}.bin").unlink()
    dataset = PackedDataset(full)
    pairs = PairBatches(dataset, "train", 2, seed=0, rank=1, world_size=2)
    people = len(pairs.identities)
    assert 4 < people < 24
    seen = []
    for step in range(people):  # this process's half of two epochs of every two people
        for one, other in pairs[step]["frames"].tolist():
            assert dataset.frames["shard"][one] == dataset.frames["shard"][other]
            seen.append(dataset.identity(one))
    assert set(seen) == set(pairs.identities)
