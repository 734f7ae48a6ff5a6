"""Embeddings of packed frames from a frozen encoder."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from tcae.data.align import AlignmentTemplate
from tcae.data.pictures import centre
from tcae.data.shard_files import ShardError
from tcae.data.shards import PackedDataset
from tcae.models.face_encoder import FaceEncoder

EMBEDDINGS = ("au", "pose")

_Batch = tuple[Tensor, NDArray[np.bool_], list[str]]


@dataclass(frozen=True)
class EmbeddedFrames:
    """Embeddings of n frames; rows of frames that could not be read are NaN.

    Attributes:
        au: (n, embedding_size) float32.
        pose: (n, pose_size) float32.
        encoder: Fingerprint of the encoder they come from.
        failures: One line for each unreadable frame.
    """

    au: NDArray[np.float32]
    pose: NDArray[np.float32]
    encoder: str
    failures: tuple[str, ...] = ()

    def array(self, embedding: str) -> NDArray[np.float32]:
        """Return the embedding of that name, ``"au"`` or ``"pose"``; (n, 0) if there is none."""
        if embedding not in EMBEDDINGS:
            raise ValueError(f"embedding: {embedding!r} came, au or pose is needed")
        values: NDArray[np.float32] = getattr(self, embedding)
        return values

    def of(self, embedding: str) -> NDArray[np.float32]:
        """Return the embedding of that name, ``"au"`` or ``"pose"``.

        Raises:
            ValueError: The encoder has none of that name.
        """
        values = self.array(embedding)
        if not values.shape[1]:
            raise ValueError(f"embedding: the encoder has no {embedding} embedding")
        return values


def check_template(encoder: FaceEncoder, template: AlignmentTemplate, source: object) -> None:
    """Refuse faces that are aligned otherwise than those the encoder was trained on.

    Raises:
        ValueError: The templates differ. The error names both.
    """
    own = AlignmentTemplate.from_dict(encoder.template)
    if np.allclose(own.points, template.points, rtol=0, atol=1e-4):
        return
    names = [own.name, template.name]
    if names[0] == names[1]:
        names = [f"{t.name} {t.points}" for t in (own, template)]
    raise ValueError(
        f"{source}: its faces are aligned to the template {names[1]}, the encoder needs "
        f"{names[0]}; pack the videos again with the encoder's template"
    )


class Embed(Protocol):
    """Embeds packed frames as `embed_frames` does."""

    def __call__(
        self,
        encoder: FaceEncoder,
        dataset: PackedDataset,
        frames: NDArray[np.int64],
        *,
        batch_size: int,
        workers: int,
    ) -> EmbeddedFrames:
        """Embed `frames` (n,) of the data set."""
        ...


def embed_frames(
    encoder: FaceEncoder,
    dataset: PackedDataset,
    frames: NDArray[np.int64],
    *,
    batch_size: int = 64,
    workers: int = 0,
) -> EmbeddedFrames:
    """Embed packed frames: of each the centred part that the encoder is to see, at its size.

    Within `embedding_by` somebody else does the work.

    Args:
        encoder: The frozen encoder.
        dataset: Aligned to the encoder's template.
        frames: (n,) indices into ``dataset.frames``.
        batch_size: Frames at once.
        workers: Processes that read frames; 0 = this one.

    Raises:
        ValueError: The data set is aligned to another template.
    """
    return _embed.get()(encoder, dataset, frames, batch_size=batch_size, workers=workers)


@contextlib.contextmanager
def embedding_by(embed: Embed) -> Iterator[None]:
    """Let `embed` do what `embed_frames` is asked for, with the help of other processes, say."""
    before = _embed.set(embed)
    try:
        yield
    finally:
        _embed.reset(before)


def embed_here(
    encoder: FaceEncoder,
    dataset: PackedDataset,
    frames: NDArray[np.int64],
    *,
    batch_size: int,
    workers: int,
) -> EmbeddedFrames:
    """Embed packed frames in this process; see `embed_frames`."""
    check_template(encoder, dataset.template, dataset.path)
    batches = PictureBatches(dataset, frames, batch_size, encoder.crop, encoder.image_size)
    au, pose = (
        np.full((len(frames), size), np.nan, np.float32)
        for size in (encoder.embedding_size, encoder.pose_size)
    )
    failures: list[str] = []
    loader = DataLoader(batches, batch_size=None, num_workers=workers, collate_fn=_as_is)
    with tqdm(total=len(frames), desc="embedding", unit="frame", disable=None) as progress:
        for number, (images, readable, lines) in enumerate(loader):
            rows = np.flatnonzero(readable) + number * batch_size
            if len(rows):
                for array, values in zip((au, pose), encoder.embed(images), strict=True):
                    array[rows] = values.float().cpu().numpy()
            failures += lines
            progress.update(len(readable))
    return EmbeddedFrames(au, pose, encoder.fingerprint, tuple(failures))


_embed: ContextVar[Embed] = ContextVar("embed", default=embed_here)


def read_faces(dataset: PackedDataset, frames: NDArray[np.int64], crop: float, size: int) -> Tensor:
    """Read packed faces as an encoder gets them. Frames that cannot be read are left out.

    Args:
        dataset: The packed frames.
        frames: (n,) indices into ``dataset.frames``.
        crop: Side of the centred part, as a share of the frame.
        size: Side of the result in pixels.

    Returns:
        (n, 3, size, size) uint8.
    """
    return PictureBatches(dataset, frames, len(frames), crop, size)[0][0]


def _as_is(batch: Any) -> Any:
    return batch  # else the loader turns arrays into tensors


def damaged_files(failures: Sequence[str]) -> list[str]:
    """Return one line for each file with damaged frames, however many frames they are."""
    first: dict[str, str] = {}
    for line in failures:
        first.setdefault(line.partition(":")[0], line)
    count = Counter(line.partition(":")[0] for line in failures)
    return [
        f"{line}; {count[file]} of its labelled frames are skipped" for file, line in first.items()
    ]


class PictureBatches(Dataset[_Batch]):
    """Batches of packed frames: of each the centred part, at some size.

    Item k: readable pictures (m, 3, S, S) uint8, which of the frames they are, failures.

    Args:
        dataset: The packed frames.
        frames: (n,) which of them.
        batch_size: Frames in a batch.
        crop: Side of the part, as a share.
        size: Side of the pictures that come out.
    """

    def __init__(
        self,
        dataset: PackedDataset,
        frames: NDArray[np.int64],
        batch_size: int,
        crop: float,
        size: int,
    ) -> None:
        self._dataset, self._frames, self._batch_size = dataset, frames, batch_size
        self._crop, self.size = crop, size

    def __len__(self) -> int:
        return -(-len(self._frames) // self._batch_size)

    def __iter__(self) -> Iterator[_Batch]:
        return (self[k] for k in range(len(self)))

    def __getitem__(self, k: int) -> _Batch:
        frames = self._frames[k * self._batch_size : (k + 1) * self._batch_size]
        pictures, failures = [], []
        readable = np.ones(len(frames), bool)
        self._dataset.prefetch(frames)
        for row, frame in enumerate(frames):
            try:
                picture = self._dataset.read(int(frame))
                pictures.append(centre(picture, self._crop, self.size))
            except ShardError as error:
                readable[row] = False
                failures.append(str(error))
        stack = np.stack(pictures) if pictures else np.empty((0, self.size, self.size, 3), "u1")
        return torch.from_numpy(stack).permute(0, 3, 1, 2), readable, failures
