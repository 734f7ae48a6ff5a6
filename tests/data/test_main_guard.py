"""Scripts that render or train, with and without the guard that their worker processes need."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import tcae

ROOT = Path(tcae.__file__).parents[1]

RENDERED = """
from pathlib import Path
from tcae.data.synthetic.world import World
from tcae.measuring.people import rendered

world = World(identities=2, videos=1, frames=2, image_size=32)
{guard}rendered(Path("cache"), world)
"""
TRAIN = """
from pathlib import Path
from tcae.train import train
from tcae.training.config import TrainConfig

{guard}train(TrainConfig(out=Path("cache/run"), device="cpu"))
"""
GUARD = 'if __name__ == "__main__":\n    '


def run(folder: Path, text: str, guard: str = "") -> subprocess.CompletedProcess[str]:
    (folder / "script.py").write_text(text.format(guard=guard))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "script.py"]
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("text", [RENDERED, TRAIN], ids=["rendered", "train"])
def test_without_a_guard_one_line_names_it(tmp_path: Path, text: str) -> None:
    done = run(tmp_path, text)
    assert done.returncode == 1
    assert done.stdout == ""
    errors = done.stderr.splitlines()
    assert errors[-1].startswith("RuntimeError: ")
    assert "script.py: " in errors[-1] and 'if __name__ == "__main__":' in errors[-1]
    assert done.stderr.count("Traceback") == 1  # none of a worker
    assert not list(tmp_path.rglob("*.bin"))


def test_with_a_guard_it_works(tmp_path: Path) -> None:
    done = run(tmp_path, RENDERED, GUARD)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert list(tmp_path.rglob("labels.csv"))
