"""From pairs on the disk to batches beside the model: workers, and copies to a GPU."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from tcae.cli.command import first_line
from tcae.cli.progress import Stopwatch
from tcae.cli.signals import leave_signals_to_the_parent
from tcae.data.pairs import PairBatches
from tcae.data.shard_files import ShardError

COMPUTED_WITH = ("source", "target", "tracks")
"""What of a batch a step is computed from; the rest is for messages."""


def feed(
    pairs: PairBatches, steps: Sequence[int], workers: int, device: torch.device, watch: Stopwatch
) -> Generator[tuple[dict[str, Tensor], float], None, None]:
    """Batches of some steps on a device, each with the seconds waited for it.

    Args:
        pairs: What they are read from.
        steps: Which ones.
        workers: Processes that read them; 0: this one does.
        device: Where images and tracks are wanted; what else a batch has stays.
        watch: Its lap is started when a batch has been waited for.

    Raises:
        ShardError: Hardly any frame of the data set can be read.
    """
    # Forked workers end when this process is killed; those of a fork server, Python 3.14's
    # default, would wait for it for ever.
    fork = "fork" if workers and sys.platform == "linux" else None
    loader = DataLoader(
        pairs,
        batch_size=None,
        sampler=steps,
        num_workers=workers,
        multiprocessing_context=fork,
        worker_init_fn=leave_signals_to_the_parent,
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),  # or starting the workers would advance the global one
    )
    batches = iter(loader)
    there = _copied_ahead(batches, device) if device.type == "cuda" else batches
    try:
        while True:
            watch.lap()
            yield next(there), watch.lap()
    except StopIteration:
        return
    except ShardError as error:  # from a worker it comes with the worker's traceback
        raise ShardError(str(error).strip().split("ShardError: ")[-1]) from None
    finally:
        if workers:
            # Now, not when the garbage is collected: at the end of the program Python would
            # ask the workers to stop by the very signal that they ignore.
            batches._shutdown_workers()  # type: ignore[attr-defined]


def _copied_ahead(
    batches: Iterator[dict[str, Tensor]], device: torch.device, cuda: Any = torch.cuda
) -> Iterator[dict[str, Tensor]]:
    """Batches on a GPU, each copied while the GPU works on the one before.

    Not run on hardware.

    Args:
        batches: In pinned memory.
        device: The GPU.
        cuda: Has streams: torch.cuda.
    """
    copying = cuda.Stream(device)

    def copied() -> dict[str, Tensor] | None:
        batch = next(batches, None)
        if batch is None:
            return None
        with cuda.stream(copying):
            moved = {name: batch[name].to(device, non_blocking=True) for name in COMPUTED_WITH}
        return batch | moved

    coming = copied()
    while coming is not None:
        working = cuda.current_stream(device)
        working.wait_stream(copying)
        batch = coming
        for name in COMPUTED_WITH:
            batch[name].record_stream(working)  # or its memory would be used again too early
        coming = copied()
        yield batch


@contextlib.contextmanager
def worker_deaths_named() -> Iterator[None]:
    """A data worker that was killed shows at any moment, as one of several errors.

    Raises:
        ChildProcessError: One line about it.
    """
    try:
        yield
    except (RuntimeError, ConnectionError, EOFError) as error:
        if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
            raise
        raise ChildProcessError(
            f"a data worker died ({first_line(error)}); --resume auto goes on from the last "
            "checkpoint"
        ) from None
