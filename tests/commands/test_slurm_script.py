"""The batch script of docs/scale.md, as it is printed, with the real torchrun."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tcae.training.checkpoints import CheckpointFolder

ROOT = Path(__file__).parents[2]
OPTIONS = (
    "--image-size 32 --device cpu --model.base-filters 4 --model.embedding-size 8 "
    "--validation.every 1000 --validation.pairs 4 --validation.panel-pairs 2 --logbook.every 1 "
    "--checkpoints.every 1000"
)
# What the batch system is to the script: it starts a job step, knows the hosts, takes jobs back.
SRUN = """#!/bin/bash
exec "$@"
"""
SCONTROL = """#!/bin/bash
if [ "$1" = show ]; then echo 127.0.0.1; else echo "$@" >> "$(dirname "$0")/asked"; fi
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def submit(
    faces: Path, tmp_path: Path
) -> Iterator[Callable[..., tuple[subprocess.Popen[str], Path]]]:
    """Function that starts the script, small enough for a test, and returns it and its run."""
    data, run, programs = tmp_path / "faces", tmp_path / "run", tmp_path / "bin"
    shutil.copytree(faces, data, ignore=shutil.ignore_patterns("labels.csv"))
    programs.mkdir()
    torchrun = f'#!/bin/bash\nexec {sys.executable} -m torch.distributed.run "$@"\n'
    for name, text in {"srun": SRUN, "scontrol": SCONTROL, "torchrun": torchrun}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    page = (ROOT / "docs/scale.md").read_text()
    (script,) = re.findall(r"```bash\n(#!/bin/bash\n#SBATCH.*?)```", page, re.DOTALL)
    started = []

    def start(steps: int) -> tuple[subprocess.Popen[str], Path]:
        text = script
        for printed, ours in {
            "/data/faces": str(data),
            "/runs/big": str(run),  # in all places
            "--nproc-per-node=8": "--nproc-per-node=2",
            "--batch-size 512 --workers 8": f"--batch-size 4 --workers 0 --steps {steps} {OPTIONS}",
            ":29500": f":{free_port()}",
        }.items():
            assert printed in text, printed
            text = text.replace(printed, ours)
        (tmp_path / "job.sh").write_text(text)
        environment = {
            **os.environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "SLURM_JOB_NODELIST": "here",
            "SLURM_NNODES": "1",
            "SLURM_JOB_ID": "77",
        }
        process = subprocess.Popen(
            ["bash", str(tmp_path / "job.sh")],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process, run

    yield start
    for process in started:
        for pid in processes(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.communicate()


def processes(session: int, word: str = "") -> list[int]:
    """The processes of a session whose command line has a word."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            stat = (path / "stat").read_text().rpartition(")")[2].split()
            words = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # it has ended
            continue
        if int(stat[3]) == session and stat[0] != "Z" and word in words:
            found.append(int(path.name))
    return found


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_the_job_is_requeued_with_its_checkpoint(
    submit: Callable[..., tuple[subprocess.Popen[str], Path]],
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    asked = tmp_path / "bin" / "asked"
    process, run = submit(steps=100_000)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("step 2/"):
            break
    (torchrun,) = processes(process.pid, "torch.distributed.run")
    os.kill(torchrun, number)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 1, errors  # torchrun's: not 128 + signal
    assert processes(process.pid) == []  # no orphans
    assert asked.read_text() == "requeue 77\n"
    assert (run / "stopped").read_text() == f"{128 + number}\n"
    latest = CheckpointFolder(run / "checkpoints").latest()
    assert latest is not None and latest[1]["step"] >= 2


def test_a_job_that_ends_or_fails_is_not_requeued(
    submit: Callable[..., tuple[subprocess.Popen[str], Path]], tmp_path: Path
) -> None:
    process, run = submit(steps=3)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    assert json.loads((run / "summary.json").read_text())["steps"] == 3
    (run / "stopped").touch()  # of an earlier job
    process, _ = submit(steps=2)  # fewer: refused
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 1
    assert "--steps: the run has 3" in errors
    assert not (tmp_path / "bin" / "asked").exists()
