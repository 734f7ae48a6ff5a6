"""A training as a team of processes, started again until its steps are done."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from processes import MARK, Process, processes

ROOT = Path(__file__).resolve().parents[2]
_SIGNALS = "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"
BATCH_SIZE = 16
_OPTIONS = (
    f"--image-size 32 --batch-size {BATCH_SIZE} --device cpu --workers 1 --model.base-filters 4 "
    "--model.embedding-size 16 --validation.every 100 --validation.pairs 16 "
    "--validation.panel-every 5 --validation.panel-pairs 2 --checkpoints.every 10 "
    "--logbook.every 10 --unseen.people 6 --unseen.pairs 8 --resume auto"
)


class SoakedRun:
    """One run.

    Args:
        folder: Where its directory and its log lie.
        name: Its name.
        data: Packed frames.
        steps: Its length.
        ranks: Number of processes that train.
    """

    def __init__(self, folder: Path, name: str, data: Path, steps: int, ranks: int) -> None:
        self.name, self.path, self.steps = name, folder / name, steps
        self.log = folder / f"{name}.log"
        self.starts = 0
        self._mark = f"{name}-{os.getpid()}"
        self._process: subprocess.Popen[bytes] | None = None
        self._temporary = folder / "temporary"
        self._temporary.mkdir(exist_ok=True)
        launcher = ["torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
        self._command = [sys.executable, "-m", *launcher, "--max-restarts=2", "-m", "tcae.train"]
        self._command += _OPTIONS.split()
        self._command += ["--data", str(data), "--out", str(self.path), "--steps", str(steps)]

    def start(self) -> None:
        """Start it, or start it again."""
        own = {
            MARK: self._mark,
            "TMPDIR": str(self._temporary),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
            "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
            "PET_SIGNALS_TO_HANDLE": _SIGNALS,
            "TORCHELASTIC_SIGNALS_TO_HANDLE": _SIGNALS,
        }
        self.starts += 1
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **own},
                start_new_session=True,
            )

    def processes(self) -> list[Process]:
        """Return its living processes."""
        return processes(self._mark)

    def status(self) -> int | None:
        """Return the launcher's exit status, None while it lives."""
        assert self._process is not None
        return self._process.poll()

    def kill(self) -> None:
        """Kill all its processes."""
        for process in self.processes():
            try:
                os.kill(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def step(self) -> int:
        """Return the last step that it has logged, 0 before the first."""
        try:
            with (self.path / "metrics.jsonl").open("rb") as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(file.tell() - 4000, 0))
                lines = file.read().splitlines()
        except OSError:
            return 0
        for line in reversed(lines):
            try:
                return int(json.loads(line)["step"])
            except (ValueError, TypeError, KeyError):  # not written to its end
                continue
        return 0
