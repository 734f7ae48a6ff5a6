"""The team of processes that torchrun starts: how it forms, ends and agrees on values."""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import itertools
import logging
import os
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from tcae.cli.messages import first_line
from tcae.distributed import ranks
from tcae.distributed.launcher import stop_with_launcher
from tcae.distributed.roll_call import RollCall

# Loggers whose warnings rank 0 cannot give for the others: they are about their own data.
_LOUD_LOGGERS = ("tcae.data.pairs", "tcae.training.skipped_steps")

_CRASHED = 1  # Python's exit status after a traceback

_PATIENCE = timedelta(days=30)  # rank 0 may render people, or train another model

_teams = itertools.count()
_timeout: timedelta | None = None  # None: that of torch
_roll_call: RollCall | None = None


@contextlib.contextmanager
def team(device: str, timeout: float) -> Iterator[None]:
    """Join the processes that torchrun started, and leave them at the end.

    Does nothing if torchrun did not start this process. When torchrun dies, this process gets
    SIGTERM. Only rank 0 prints; the others warn of problems with their own data and nothing else.

    Args:
        device: The option --device. With GPUs, each process takes the one with its local rank.
        timeout: Seconds that a process waits for the others.

    Raises:
        ValueError: This machine has fewer GPUs than processes, or the option names one of them.
    """
    if not _is_started_by_torchrun():
        yield
        return
    stop_with_launcher()
    if device.startswith("cuda:"):
        raise ValueError(
            f"--device {device}: each process takes the GPU of its local rank, give cuda instead"
        )
    gpus = torch.cuda.is_available() and device in ("auto", "cuda")
    if gpus:
        number, count = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if number >= count:
            raise ValueError(f"--nproc-per-node: process {number} has no GPU, there are {count}")
        torch.cuda.set_device(number)
    _join("cpu:gloo,cuda:nccl" if gpus else "gloo", timedelta(seconds=timeout))
    with contextlib.ExitStack() as quiet:
        if ranks.rank():
            nowhere = quiet.enter_context(open(os.devnull, "w"))
            quiet.enter_context(contextlib.redirect_stdout(nowhere))
            logging.getLogger("tcae").setLevel(logging.ERROR)
            for name in _LOUD_LOGGERS:
                logging.getLogger(name).setLevel(logging.WARNING)
        yield
    leave()  # not after an error: another process may hang, and leaving would wait for it


def _join(backend: str, timeout: timedelta) -> None:
    """Form the team. nccl cannot send CPU tensors: they go by gloo even if gradients go by nccl."""
    global _timeout, _roll_call
    store, rank, world_size = next(dist.rendezvous("env://"))
    _timeout = timeout
    _roll_call = RollCall(dist.PrefixStore("roll-call", store), rank, world_size)
    _roll_call.wait_for_all()
    own = dist.PrefixStore(f"team-{next(_teams)}", store)  # a script may form one after another
    dist.init_process_group(backend, timeout=timeout, world_size=world_size, rank=rank, store=own)


def new_group() -> dist.ProcessGroup:
    """Return a group of all processes, whose threads and messages are its own."""
    return dist.new_group(timeout=_timeout)


def patient_group() -> dist.ProcessGroup:
    """Return a group in which the others may wait as long as rank 0 works alone."""
    dist.barrier()  # notices a lost process now, not after the long timeout
    return dist.new_group(backend="gloo", timeout=_PATIENCE)


def leave() -> None:
    """Leave the team."""
    if ranks.world_size() > 1:
        dist.destroy_process_group()


def ending_safely(work: Callable[[], int]) -> int:
    """Do the work of a command and return its exit status, which a team's process ends with.

    After an error torch's threads go on, and one that lets go of a tensor while Python ends aborts
    the process. So a process of a team ends without ending Python.
    """
    status = _CRASHED
    try:
        status = work()
        return status
    finally:
        if _is_started_by_torchrun():
            atexit.register(_end, status)


def _end(status: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def _is_started_by_torchrun() -> bool:
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def program(name: str) -> str:
    """Return a command's name for messages. Ranks other than 0 add their number."""
    number = os.environ.get("RANK", "0")
    return name if number == "0" else f"{name} (process {number})"


@contextlib.contextmanager
def rank_zero_first() -> Iterator[None]:
    """Let rank 0 run the block first and the others after it, when its files are there."""
    if ranks.world_size() == 1:
        yield
        return
    group = patient_group()
    if ranks.rank():
        dist.barrier(group)
    yield
    if not ranks.rank():
        dist.barrier(group)
    dist.destroy_process_group(group)


def local_batch_size(batch_size: int) -> int:
    """Return how many pairs of a batch each process takes.

    Raises:
        ValueError: The batch size is not a multiple of the number of processes.
    """
    share, rest = divmod(batch_size, ranks.world_size())
    if rest or not share:
        sizes = " or ".join(str(n * ranks.world_size()) for n in (share, share + 1) if n)
        raise ValueError(
            f"--batch-size {batch_size}: is shared out evenly by {ranks.world_size()} processes, "
            f"choose {sizes}"
        )
    return share


def mean(values: Tensor) -> Tensor:
    """Return the mean over all processes, the same bits in each of them."""
    return ranks.gather(values[None]).mean(0) if ranks.world_size() > 1 else values


def largest(*values: float) -> list[float]:
    """Return the maximum of each value over all processes."""
    if ranks.world_size() == 1:
        return list(values)
    maxima = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(maxima, dist.ReduceOp.MAX)
    return maxima.tolist()


def broadcast(value: str) -> str:
    """Return rank 0's value in every process."""
    values = [value]
    if ranks.world_size() > 1:
        dist.broadcast_object_list(values, 0)
    return values[0]


def broadcast_buffers(model: nn.Module) -> None:
    """Copy rank 0's running statistics to all processes."""
    if ranks.world_size() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)


def check_same_start(run: Path, step: int) -> None:
    """Check that all processes go on from the same step.

    Raises:
        ValueError: They do not. Then they do not see the same files.
    """
    steps = ranks.gather(torch.tensor([step])).tolist()
    if len(set(steps)) > 1:
        raise ValueError(f"{run}: processes see different checkpoints there, of steps {steps}")


def combine_fingerprints(own: str) -> str:
    """Return one hash of the data of all processes: `own` if they all have the same."""
    everyone = ranks.gather(torch.tensor([list(bytes.fromhex(own))], dtype=torch.uint8))
    different = everyone.unique(dim=0)
    if len(different) == 1:
        return own
    return hashlib.sha256(bytes(different.flatten().tolist())).hexdigest()


@contextlib.contextmanager
def explain_lost_process() -> Iterator[None]:
    """Turn the errors that the loss of another process causes into one clear message.

    torch raises one of several errors in whichever process waits for the lost one.

    Raises:
        ConnectionError: Another process died, does not answer or cannot be reached.
    """
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        is_lost = isinstance(error, dist.DistError) or "gloo" in text or "NCCL" in text
        if ranks.world_size() == 1 or not is_lost:
            raise
        waited = "timed out" in text.lower()
        hanging = _roll_call.missing() if waited and _roll_call is not None else []
        who = "process " + " and ".join(map(str, hanging)) if hanging else "another process"
        what = "does not answer" if waited else "died or cannot be reached"
        raise ConnectionError(
            f"{who} of the run {what} ({first_line(error)}); --resume auto goes on from the last "
            "checkpoint"
        ) from None
