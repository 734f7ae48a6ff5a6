"""Memory that is freed stays with the process once it is asked for that."""

import subprocess
import sys

import pytest

# In a process of its own: nothing takes the request back.
FAULTS = """
import resource, sys, torch
from tcae.engine.computing import keep_memory
if sys.argv[1] == "keep":
    keep_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_freed_memory_is_kept() -> None:
    given_back, kept = (
        int(subprocess.check_output([sys.executable, "-c", FAULTS, how])) for how in ("", "keep")
    )
    assert kept < 100 < given_back  # 64 MB: 16384 pages of 4 KiB, 32 of 2 MiB
