"""From pairs on the disk to batches beside the model: workers, and what becomes of them."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Generator, Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from tcae.data.pairs import PairBatches
from tcae.data.shard_files import ShardError
from tcae.engine.progress import Stopwatch
from tcae.engine.signals import leave_signals_to_the_parent


def feed(
    pairs: PairBatches, steps: Sequence[int], workers: int, device: torch.device, watch: Stopwatch
) -> Generator[tuple[dict[str, Tensor], float], None, None]:
    """Batches of some steps, each with the seconds waited for it.

    Args:
        pairs: What they are read from.
        steps: Which ones.
        workers: Processes that read them; 0: this one does.
        device: That they are meant for.
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
    try:
        while True:
            watch.lap()
            yield next(batches), watch.lap()
    except StopIteration:
        return
    except ShardError as error:  # from a worker it comes with the worker's traceback
        raise ShardError(str(error).strip().split("ShardError: ")[-1]) from None
    finally:
        if workers:
            # Now, not when the garbage is collected: at the end of the program Python would
            # ask the workers to stop by the very signal that they ignore.
            batches._shutdown_workers()  # type: ignore[attr-defined]


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
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ChildProcessError(
            f"a data worker died ({reason}); --resume auto goes on from the last checkpoint"
        ) from None
