"""A training step that is replayed as a CUDA graph has the bits of the step itself."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.gpu
TOOL = Path(__file__).parents[2] / "tools/gpu_day/captured_losses.py"


def test_losses_of_all_presets():
    done = subprocess.run([sys.executable, TOOL, "cuda"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
