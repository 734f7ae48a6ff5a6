"""The data loader: batches read by worker processes and copied to the GPU ahead of time."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from tcae.cli.messages import first_line
from tcae.cli.progress import Stopwatch
from tcae.cli.signals import leave_signals_to_the_parent
from tcae.data.mixture import Pairs
from tcae.data.shard_files import ShardError

INPUTS = ("source", "target", "tracks")
"""The tensors of a batch that a step computes with. The others are for messages."""


def feed(
    pairs: Pairs, steps: Sequence[int], workers: int, device: torch.device, watch: Stopwatch
) -> Generator[tuple[dict[str, Tensor], float], None, None]:
    """Yield the batches of some steps, each with the seconds that it was waited for.

    Args:
        pairs: The pairs of frames to read.
        steps: The steps whose batches are wanted.
        workers: Number of worker processes that read. 0: this process reads.
        device: Where the model computes. On a GPU, the tensors of `INPUTS` are copied there; on a
            CPU nothing is.
        watch: Measures the waiting. A new lap starts with every batch.

    Raises:
        ShardError: Hardly any frame of the data set can be read.
    """
    # Forked workers end when this process is killed. Those of a fork server, the default from
    # Python 3.14 on, would wait for it forever.
    fork = "fork" if workers and sys.platform == "linux" else None
    loader = DataLoader(
        pairs,
        batch_size=None,
        sampler=steps,
        num_workers=workers,
        multiprocessing_context=fork,
        worker_init_fn=leave_signals_to_the_parent,
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),  # else starting the workers would advance the global one
    )
    batches = iter(loader)
    ahead = _copy_ahead(batches, device) if device.type == "cuda" else batches
    try:
        while True:
            watch.lap()
            yield next(ahead), watch.lap()
    except StopIteration:
        return
    except ShardError as error:  # from a worker it comes with the worker's traceback
        raise ShardError(str(error).strip().split("ShardError: ")[-1]) from None
    finally:
        if workers:
            # Now, not when the garbage is collected: at the end of the program, Python would ask
            # the workers to stop by a signal that they ignore.
            batches._shutdown_workers()  # type: ignore[attr-defined]


def _copy_ahead(
    batches: Iterator[dict[str, Tensor]], device: torch.device, cuda: Any = torch.cuda
) -> Iterator[dict[str, Tensor]]:
    """Yield batches on a GPU, each copied while the GPU still works on the one before.

    Not run on hardware.

    Args:
        batches: Batches in pinned memory.
        device: The GPU.
        cuda: The module that has streams, `torch.cuda`. Tests put another in its place.
    """
    copying = cuda.Stream(device)

    def copy_next() -> dict[str, Tensor] | None:
        batch = next(batches, None)
        if batch is None:
            return None
        with cuda.stream(copying):
            copies = {name: batch[name].to(device, non_blocking=True) for name in INPUTS}
        return batch | copies

    following = copy_next()
    while following is not None:
        working = cuda.current_stream(device)
        working.wait_stream(copying)
        batch = following
        for name in INPUTS:
            batch[name].record_stream(working)  # else its memory would be used again too early
        following = copy_next()
        yield batch


@contextlib.contextmanager
def explain_lost_worker() -> Iterator[None]:
    """Turn the errors that the loss of a data worker causes into one clear message.

    A worker that was killed can raise one of several errors, at any moment.

    Raises:
        ChildProcessError: A data worker died.
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
