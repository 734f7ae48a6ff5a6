"""The soak's own parts: what it hits, what it calls equal, flat and left over."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

from tcae.training.checkpoints import CheckpointFolder


@pytest.fixture
def tool(modules_of):
    """Function that imports a module of the tool."""
    return modules_of("soak")


# A process without RANK, one below it with RANK, and one below that, as torchrun and training are.
FAMILY = """
import os, subprocess, sys, time
level = int(sys.argv[1])
if level < 2:
    child = [sys.executable, "-c", os.environ["PROGRAM"], str(level + 1)]
    own = {"RANK": "1"} if level == 0 else {}
    subprocess.Popen(child, env={**os.environ, **own}, start_new_session=level == 0)
time.sleep(60)
"""


@pytest.fixture
def family(tool):
    """A launcher, its rank and the rank's worker, all with one mark."""
    processes = tool("processes")
    mark = f"test-{os.getpid()}"
    environment = {**os.environ, processes.MARK: mark, "PROGRAM": FAMILY}
    environment.pop("RANK", None)
    launcher = subprocess.Popen([sys.executable, "-c", FAMILY, "0"], env=environment)
    while len(found := processes.processes(mark)) < 3:
        time.sleep(0.02)
    yield lambda: processes.processes(mark)
    for it in found:
        if it in processes.processes(mark):
            os.kill(it.pid, signal.SIGKILL)
    launcher.wait()


def test_processes_are_found_even_when_the_launcher_has_died(family):
    launcher, rank, worker = family()
    assert [it.kind for it in family()] == ["launcher", "rank", "worker"]
    assert [it.rank for it in family()] == [-1, 1, 1]
    assert 1e6 < rank.memory < 1e9 and 0 < rank.worked < 60
    os.kill(launcher.pid, signal.SIGKILL)
    while launcher.pid in [it.pid for it in family()]:
        time.sleep(0.02)
    assert [it.pid for it in family()] == [rank.pid, worker.pid]


def test_the_same_seed_gives_the_same_fate(tool, monkeypatch):
    disturbances, Process = tool("disturbances"), tool("processes").Process
    hit = []
    monkeypatch.setattr(disturbances.os, "kill", lambda *it: hit.append(it))
    team = [Process(1, "launcher", -1, 0), Process(2, "rank", 0, 0), Process(3, "rank", 1, 0)]
    team += [Process(4, "worker", 0, 0)]

    def fate(seed):
        hit.clear()
        mine = disturbances.Fate(seed, 10)
        happened = [(mine.wait(), mine.strike(team)) for _ in range(200)]
        return happened, list(hit)

    happened, signals = fate(3)
    assert (happened, signals) == fate(3) != fate(4)
    assert {what for _, what in happened} == set(disturbances.KINDS)
    assert {pid for pid, _ in signals} == {1, 2, 3, 4}
    assert 9 < sum(wait for wait, _ in happened) / 200 < 11
    assert {mine.strike([]) for mine in [disturbances.Fate(0, 10)] for _ in range(50)} == {None}


def test_memory_is_flat_or_grows(tool):
    memory = tool("memory")

    def samples(name, value):
        return [memory.Sample(60.0 * i, "run", name, i, int(1e8 * value(i))) for i in range(1, 101)]

    watched = samples("flat", lambda i: 1 + 0.01 * (i % 2))
    watched += samples("fills up at first", lambda i: min(1.0, 0.5 + i / 30))
    watched += samples("leaks", lambda i: 1 + i / 1000)
    watched += samples("measures at the end", lambda i: 3 if i == 100 else 1)
    watched += samples("short", lambda i: i)[:9]
    starts = [memory.Sample(60.0 * i, "run", "starts late", 40, 10) for i in range(30)]
    watched += starts + samples("starts late", lambda i: 1)[40:]
    found = {it.process: it for it in memory.growths(watched, total=100, least_minutes=10)}
    assert list(found) == [
        "flat",
        "fills up at first",
        "leaks",
        "measures at the end",
        "starts late",
    ]
    grows = {name for name, it in found.items() if abs(it.share) > memory.LIMIT}
    assert grows == {"leaks"}
    # From the mean place of the first quarter to that of the last: 60 of 80 minutes.
    assert found["leaks"].share == pytest.approx(0.06 / 1.03, abs=0.002)
    assert found["measures at the end"].peak == 1e8


@pytest.fixture
def run(tmp_path):
    """The directory of a finished run."""
    path = tmp_path / "one"
    state = {
        "step": 3, "total_steps": 3, "minutes": 1.0, "best": 0.5, "failures": 0, "skipped": 0,
        "threads": 1, "measures": {"loss": 0.5}, "config": {}, "data": "", "curriculum": {},
        "model": {"w": torch.ones(2)}, "optimizer": {"state": [{"m": torch.zeros(2)}]},
        "random": {}, "logbook": {}, "progress": {},
    }  # fmt: skip
    CheckpointFolder(path / "checkpoints").save(state)
    (path / "metrics.jsonl").write_text('{"step": 3, "loss": 1.0, "images_per_second": 4}\n')
    (path / "summary.json").write_text('{"au_f1": 0.5, "minutes": 1}')
    (path / "encoder.safetensors").write_bytes(b"abc")
    (path / "events.out.tfevents.123.host").touch()
    return path


def change_weights(path):
    folder = CheckpointFolder(path / "checkpoints")
    state = folder.latest()[1]
    state.pop("source")
    state["model"]["w"] = torch.tensor([1.0, 1.0000001])
    folder.save(state)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda path: None, None),
        (change_weights, "checkpoints: model.w"),
        (lambda p: (p / "metrics.jsonl").write_text('{"step": 3, "loss": 1.1}\n'), "line 1"),
        (lambda p: (p / "summary.json").write_text('{"au_f1": 0.6}'), "summary.json: au_f1"),
        (lambda p: (p / "encoder.safetensors").write_bytes(b"abd"), "encoder.safetensors"),
        (lambda p: (p / "checkpoints/step-3.pt.part").touch(), "step-3.pt.part: only in other"),
        (lambda p: shutil.rmtree(p / "checkpoints"), "checkpoints: there is none"),
    ],
)
def test_what_differs(tool, run, change, line):
    other = run.parent / "other"
    shutil.copytree(run, other)
    (other / "events.out.tfevents.456.host").touch()  # of another start
    text = (other / "metrics.jsonl").read_text()
    (other / "metrics.jsonl").write_text(text.replace('second": 4', 'second": 5'))
    change(other)
    found = tool("comparison").differences(run, other)
    assert found == [] if line is None else any(it.endswith(line) for it in found), found


def test_the_report_tells_what_should_not_be(tool, tmp_path):
    soak, memory, disturbances = tool("soak"), tool("memory"), tool("disturbances")
    run = tool("soaked_run").SoakedRun(tmp_path, "disturbed", tmp_path / "data", 50, 2)
    found = soak.Soak(run, run, disturbances.Fate(0, 1))
    found.happened = [(61.0, 20, disturbances.KINDS[0]), (70.0, 30, disturbances.KINDS[0])]
    found.samples = [memory.Sample(120.0, "reference", "rank 0 (7)", 50, 1000)]
    growing = [memory.Growth("reference", "rank 0 (7)", 2, 100e6, 103e6, 104_000_000)]
    write = tool("soak_report").write_report
    assert write(tmp_path, found, [], [], "again") == []
    assert "Both runs ended with the same bits." in (tmp_path / "soak.md").read_text()
    assert "All is as it should be." in (tmp_path / "soak.md").read_text()
    problems = write(tmp_path, found, ["best"], growing, "again")
    assert problems == ["differs: best", "memory of reference, rank 0 (7): +3.0%"]
    text = (tmp_path / "soak.md").read_text()
    assert (
        "| SIGKILL to a rank | 2 |" in text
        and "- **differs: best**" in text
        and "other bits" in text
    )
    assert "| reference: rank 0 (7) | 2 | 100.0 | 103.0 | +3.00% | 104.0 |" in text
    assert json.loads((tmp_path / "soak.json").read_text())["happened"][0]["step"] == 20
    assert (tmp_path / "memory.csv").read_text().endswith("120,reference,rank 0 (7),50,1000\n")
