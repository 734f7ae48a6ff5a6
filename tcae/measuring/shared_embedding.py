"""Embedding shared by all ranks: they embed frames for rank 0 while it measures a finished run.

An error in one of them is raised in rank 0, as if it had happened there. When one dies, the others
say so and end as soon as they wait for it.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
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
from tcae.distributed.team import explain_lost_process, patient_group
from tcae.evaluation.embedding import EmbeddedFrames, embed_here, embedding_by
from tcae.models.face_encoder import FaceEncoder


class _Task(NamedTuple):
    encoder: bytes
    dataset: Path
    frames: list[NDArray[np.int64]]  # one array for each rank
    batch_size: int
    workers: int


@contextlib.contextmanager
def shared_embedding(helped: bool = True) -> Iterator[None]:
    """Go on alone in rank 0, but let `embed_frames` share its frames with all other ranks.

    Args:
        helped: Whether the other ranks are in `embed_for_rank_zero`. They must see the same files.
            If not, this process embeds all frames itself.

    Raises:
        ConnectionError: Another process died.
    """
    if ranks.world_size() == 1 or not helped:
        with ranks.alone():
            yield
        return
    with explain_lost_process():
        group = patient_group()
        try:
            with ranks.alone(), embedding_by(partial(_embed_together, group)):
                yield
        finally:
            dist.broadcast_object_list([None], 0, group)


def embed_for_rank_zero(device: torch.device) -> None:
    """Embed the frames that rank 0 sends, in all other ranks, until it has no more.

    Args:
        device: Where to compute.

    Raises:
        ConnectionError: Rank 0 died.
    """
    # Signals reach rank 0 too, and it decides.
    with explain_lost_process(), StopSignals():
        group = patient_group()
        while (task := _receive_task(group)) is not None:
            # One progress bar is enough, that of rank 0.
            with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
                part = _embed_or_error(task, device)
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
    shares = np.array_split(frames, count)
    task = _Task(content.getvalue(), dataset.path, shares, batch_size, workers)
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
    embedded = [part for part in parts if isinstance(part, EmbeddedFrames)]
    return EmbeddedFrames(
        np.concatenate([part.au for part in embedded]),
        np.concatenate([part.pose for part in embedded]),
        encoder.fingerprint,
        tuple(line for part in embedded for line in part.failures),
    )


def _embed_part(
    task: _Task, encoder: FaceEncoder, dataset: PackedDataset, rank: int
) -> EmbeddedFrames:
    options = {"batch_size": task.batch_size, "workers": task.workers}
    return embed_here(encoder, dataset, task.frames[rank], **options)


def _receive_task(group: dist.ProcessGroup) -> _Task | None:
    tasks: list[_Task | None] = [None]
    dist.broadcast_object_list(tasks, 0, group)
    return tasks[0]


def _embed_or_error(task: _Task, device: torch.device) -> EmbeddedFrames | Exception:
    try:
        # weights_only=False: it may be any class of encoder, and it comes from rank 0.
        encoder = torch.load(io.BytesIO(task.encoder), map_location=device, weights_only=False)
        return _embed_part(task, encoder, PackedDataset(task.dataset), ranks.rank())
    except Exception as error:
        return error
