"""The end of the launcher: nobody else would end the processes that it started."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

_SECONDS = 2.0  # between two looks
_INIT = 1  # adopts processes whose parent died; in a container it may be the launcher itself


def stop_with_launcher() -> None:
    """Send this process SIGTERM when torchrun, which started it, has died.

    Else it would train on, and torchrun started again would find its run in use. Does nothing where
    no torchrun was.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return
    launcher = os.getppid()
    if launcher == _INIT and not _is_python(launcher):  # it died while this process started
        os.kill(os.getpid(), signal.SIGTERM)
    threading.Thread(target=_watch, args=(launcher,), daemon=True).start()


def _watch(launcher: int) -> None:
    while os.getppid() == launcher:
        time.sleep(_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def _is_python(pid: int) -> bool:
    """Return whether a process may be a launcher, also if the system does not tell."""
    try:
        return b"python" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True
