"""Which process of a team hangs: those that waited for it in vain sign, and one name is missing."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import torch.distributed as dist

_START = timedelta(minutes=30)  # in which all processes have to come to the first call
_SECONDS = 10.0  # in which all that wait for the same process sign, more than a step takes


class RollCall:
    """A list that all processes of a team can sign.

    Args:
        store: Where they leave word for each other.
        rank: The number of this process.
        world_size: Number of processes.
    """

    def __init__(self, store: dist.Store, rank: int, world_size: int) -> None:
        self._store, self._rank, self._ranks = store, rank, range(world_size)

    def wait_for_all(self) -> None:
        """Wait until all processes have started, which can take longer than any step."""
        self._store.set(f"started-{self._rank}", "")
        self._store.wait([f"started-{rank}" for rank in self._ranks], _START)

    def missing(self) -> list[int]:
        """Sign, and return who does not within some seconds. Empty if nobody can tell."""
        found: list[int] = []
        # The process that hangs may be the one that keeps the store, which then never answers.
        caller = threading.Thread(target=lambda: found.extend(self._call()), daemon=True)
        caller.start()
        caller.join(1.5 * _SECONDS)
        return found

    def _call(self) -> list[int]:
        deadline, missing = time.monotonic() + _SECONDS, [*self._ranks]
        try:
            self._store.set(f"waited-{self._rank}", "")
            while missing and time.monotonic() < deadline:
                missing = [r for r in missing if not self._store.check([f"waited-{r}"])]
                time.sleep(0.1)
        except RuntimeError:  # the store has gone
            return []
        return missing
