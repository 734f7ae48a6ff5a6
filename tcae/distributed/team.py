"""Training with many processes, which torchrun starts: joining, leaving, agreeing."""

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

from tcae.cli.command import first_line
from tcae.distributed import ranks

# Of the other processes only what the first one cannot know is heard.
_OWN_NEWS = ("tcae.data.pairs", "tcae.training.skipped_steps")


@contextlib.contextmanager
def team(device: str) -> Iterator[None]:
    """Join the processes that torchrun started, if it started this one; leave them at the end.

    Processes but the first print nothing, and warn only of what is their own.

    Args:
        device: As --device says. With GPUs each process of a machine takes the one of its number.

    Raises:
        ValueError: There are fewer GPUs than processes on this machine.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    gpus = torch.cuda.is_available() and device in ("auto", "cuda")
    if gpus:
        number, count = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if number >= count:
            raise ValueError(f"--nproc-per-node: process {number} has no GPU, there are {count}")
        torch.cuda.set_device(number)
    # CPU tensors go by gloo also where losses and gradients go by nccl.
    dist.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo")
    with contextlib.ExitStack() as quiet:
        if ranks.rank():
            nowhere = quiet.enter_context(open(os.devnull, "w"))
            quiet.enter_context(contextlib.redirect_stdout(nowhere))
            logging.getLogger("tcae").setLevel(logging.ERROR)
            for name in _OWN_NEWS:
                logging.getLogger(name).setLevel(logging.WARNING)
        yield
    leave()  # not after an error: others may hang, and leaving would wait for them


def leave() -> None:
    """End the team."""
    if ranks.world_size() > 1:
        dist.destroy_process_group()


def program(name: str) -> str:
    """A command's name in messages: with the process's number, if there are several."""
    number = os.environ.get("RANK", "0")
    return name if number == "0" else f"{name} (process {number})"


@contextlib.contextmanager
def first_one_first() -> Iterator[None]:
    """The first process does something alone, then the others, which find it done."""
    if ranks.rank():
        dist.barrier()
    yield
    if ranks.world_size() > 1 and not ranks.rank():
        dist.barrier()


def share_of(batch_size: int) -> int:
    """Pairs of a batch that each process takes.

    Raises:
        ValueError: They cannot be shared out evenly.
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
    """Mean over the processes, the same to the bit in each of them."""
    return ranks.gather(values[None]).mean(0) if ranks.world_size() > 1 else values


def largest(*values: float) -> list[float]:
    """The largest of each value over the processes."""
    if ranks.world_size() == 1:
        return list(values)
    found = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return found.tolist()


def of_the_first(value: str) -> str:
    """The first process's value."""
    values = [value]
    if ranks.world_size() > 1:
        dist.broadcast_object_list(values, 0)
    return values[0]


def share_buffers(model: nn.Module) -> None:
    """Give all processes the first one's running statistics."""
    if ranks.world_size() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)


def check_same_start(run: Path, step: int) -> None:
    """Make sure that all processes go on from the same step.

    Raises:
        ValueError: They do not, so they do not see the same files.
    """
    steps = ranks.gather(torch.tensor([step])).tolist()
    if len(set(steps)) > 1:
        raise ValueError(f"{run}: processes see different checkpoints there, of steps {steps}")


def joint_fingerprint(own: str) -> str:
    """One hash of what all processes train on; `own` if it is the same everywhere."""
    found = ranks.gather(torch.tensor([list(bytes.fromhex(own))], dtype=torch.uint8))
    different = found.unique(dim=0)
    if len(different) == 1:
        return own
    return hashlib.sha256(bytes(different.flatten().tolist())).hexdigest()


@contextlib.contextmanager
def deaths_named() -> Iterator[None]:
    """The death of another process shows as one of several errors of whoever waits for it.

    Raises:
        ConnectionError: One line about it.
    """
    try:
        yield
    except RuntimeError as error:
        lost = isinstance(error, dist.DistError) or "gloo" in str(error) or "NCCL" in str(error)
        if ranks.world_size() == 1 or not lost:
            raise
        raise ConnectionError(
            f"another process of the run died or cannot be reached ({first_line(error)}); "
            "--resume auto goes on from the last checkpoint"
        ) from None
