"""What the processes of a team do while the first one measures a finished run: they embed frames.

An error in one of them is raised in the first process as if it had happened there; when one dies,
the others say so and end as soon as they wait for it.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from tcae.cli.signals import StopSignals
from tcae.data.shards import PackedDataset
from tcae.distributed import ranks
from tcae.distributed.team import deaths_named
from tcae.evaluation.embedding import EmbeddedFrames, embed_here, embedding_by
from tcae.models.face_encoder import FaceEncoder

_PATIENCE = timedelta(days=30)  # of helpers: between two tasks another training may lie


class _Task(NamedTuple):
    encoder: bytes
    dataset: Path
    frames: list[NDArray[np.int64]]  # of each process
    batch_size: int
    workers: int


@contextlib.contextmanager
def shared_embedding(wanted: bool = True) -> Iterator[None]:
    """Go on alone in the first process, but let all others help wherever frames are embedded.

    `embed_frames` shares them out. The others are in `help_the_first`; they see the same files.

    Args:
        wanted: Whether there are others in `help_the_first`; else this process does all itself.

    Raises:
        ConnectionError: Another process died.
    """
    if ranks.world_size() == 1 or not wanted:
        with ranks.alone():
            yield
        return
    with deaths_named():
        group = _patient_group()
        try:
            with ranks.alone(), embedding_by(partial(_embed_together, group)):
                yield
        finally:
            dist.broadcast_object_list([None], 0, group)


def help_the_first(device: torch.device) -> None:
    """Embed on a device what the first process asks for, until it is done.

    Raises:
        ConnectionError: It died.
    """
    # Signals reach the first process too, which decides.
    with deaths_named(), StopSignals():
        group = _patient_group()
        while (task := _next(group)) is not None:
            # One progress bar is enough: the first process's.
            with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
                part = _attempt(task, device)
            dist.gather_object(part, None, 0, group)


def _embed_together(
    group: dist.ProcessGroup,
    encoder: FaceEncoder,
    dataset: PackedDataset,
    frames: NDArray[np.int64],
    *,
    batch_size: int,
    workers: int,
) -> EmbeddedFrames:
    content = io.BytesIO()
    torch.save(encoder, content)
    count = group.size()
    parts_of = np.array_split(frames, count)
    task = _Task(content.getvalue(), dataset.path, parts_of, batch_size, workers)
    dist.broadcast_object_list([task], 0, group)
    try:
        own: EmbeddedFrames | Exception = _embed_part(task, encoder, dataset, 0)
    except Exception as error:
        own = error
    parts: list[EmbeddedFrames | Exception] = [own] * count
    dist.gather_object(own, parts, 0, group)
    for part in parts:
        if isinstance(part, Exception):
            raise part
    known = [part for part in parts if isinstance(part, EmbeddedFrames)]
    return EmbeddedFrames(
        np.concatenate([part.au for part in known]),
        np.concatenate([part.pose for part in known]),
        encoder.fingerprint,
        tuple(line for part in known for line in part.failures),
    )


def _embed_part(
    task: _Task, encoder: FaceEncoder, dataset: PackedDataset, process: int
) -> EmbeddedFrames:
    options = {"batch_size": task.batch_size, "workers": task.workers}
    return embed_here(encoder, dataset, task.frames[process], **options)


def _patient_group() -> dist.ProcessGroup:
    dist.barrier()  # who is gone already is noticed here, not after the patience
    return dist.new_group(backend="gloo", timeout=_PATIENCE)


def _next(group: dist.ProcessGroup) -> _Task | None:
    tasks: list[_Task | None] = [None]
    dist.broadcast_object_list(tasks, 0, group)
    return tasks[0]


def _attempt(task: _Task, device: torch.device) -> EmbeddedFrames | Exception:
    try:
        # Of the own team: it may be any class of encoder.
        encoder = torch.load(io.BytesIO(task.encoder), map_location=device, weights_only=False)
        return _embed_part(task, encoder, PackedDataset(task.dataset), ranks.rank())
    except Exception as error:
        return error
