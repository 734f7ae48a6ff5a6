"""The team of processes that torchrun starts: how it forms, ends and agrees on values."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from tcae.cli.messages import first_line
from tcae.distributed import ranks

# Loggers whose warnings rank 0 cannot give for the others: they are about their own data.
_LOUD_LOGGERS = ("tcae.data.pairs", "tcae.training.skipped_steps")


@contextlib.contextmanager
def team(device: str) -> Iterator[None]:
    """Join the processes that torchrun started, and leave them at the end.

    Does nothing if torchrun did not start this process. Only rank 0 prints; the others warn of
    problems with their own data and nothing else.

    Args:
        device: The option --device. With GPUs, each process takes the one with its local rank.

    Raises:
        ValueError: This machine has fewer GPUs than processes, or the option names one of them.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
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
    # nccl cannot send CPU tensors, so they go by gloo even where gradients go by nccl.
    dist.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo")
    with contextlib.ExitStack() as quiet:
        if ranks.rank():
            nowhere = quiet.enter_context(open(os.devnull, "w"))
            quiet.enter_context(contextlib.redirect_stdout(nowhere))
            logging.getLogger("tcae").setLevel(logging.ERROR)
            for name in _LOUD_LOGGERS:
                logging.getLogger(name).setLevel(logging.WARNING)
        yield
    leave()  # not after an error: another process may hang, and leaving would wait for it


def leave() -> None:
    """Leave the team."""
    if ranks.world_size() > 1:
        dist.destroy_process_group()


def program(name: str) -> str:
    """Return a command's name for messages. Ranks other than 0 add their number."""
    number = os.environ.get("RANK", "0")
    return name if number == "0" else f"{name} (process {number})"


@contextlib.contextmanager
def rank_zero_first() -> Iterator[None]:
    """Let rank 0 run the block first and the others after it, when its files are there."""
    if ranks.rank():
        dist.barrier()
    yield
    if ranks.world_size() > 1 and not ranks.rank():
        dist.barrier()


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
        ConnectionError: Another process died or cannot be reached.
    """
    try:
        yield
    except RuntimeError as error:
        is_lost = isinstance(error, dist.DistError) or "gloo" in str(error) or "NCCL" in str(error)
        if ranks.world_size() == 1 or not is_lost:
            raise
        raise ConnectionError(
            f"another process of the run died or cannot be reached ({first_line(error)}); "
            "--resume auto goes on from the last checkpoint"
        ) from None
