"""Features of labelled frames, extracted once, kept on disk."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from tcae.data.shards import PackedDataset
from tcae.evaluation.embedding import PictureBatches
from tcae.files.durable import write_durably

_PART = 2048  # frames in a file: what a kill costs at most


def cached_features(
    folder: Path,
    make: Callable[[], Callable[[Tensor], Tensor]],
    dataset: PackedDataset,
    frames: NDArray[np.int64],
    *,
    crop: float,
    image_size: int,
    name: str = "",
    batch_size: int = 64,
) -> NDArray[np.float32]:
    """The features of packed frames, from disk as far as they are there.

    Args:
        folder: Where they are kept, in parts; it belongs to these frames and this method.
        make: Makes what embeds images (N, 3, S, S) uint8; called if something is missing.
        dataset: The packed frames.
        frames: (n,) which of them.
        crop: Side of the centred part of a picture that is seen, as a share.
        image_size: Side of the images.
        name: What the progress bar says.
        batch_size: Images embedded at once.

    Returns:
        (n, D); rows of frames that cannot be read are NaN.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = [frames[start : start + _PART] for start in range(0, len(frames), _PART)]
    files = [folder / f"{number:05d}.npy" for number in range(len(parts))]
    missing = [i for i, file in enumerate(files) if not file.exists()]
    if missing:
        embed = make()
        total = sum(len(parts[i]) for i in missing)
        with tqdm(total=total, desc=name, unit="frame", disable=None) as bar:
            for i in missing:
                batches = PictureBatches(dataset, parts[i], batch_size, crop, image_size)
                content = io.BytesIO()
                np.save(content, _embedded(embed, batches, len(parts[i]), bar))
                write_durably(files[i], content.getvalue())
    return np.concatenate([np.load(file) for file in files])


@torch.no_grad()
def _embedded(
    embed: Callable[[Tensor], Tensor], batches: PictureBatches, frames: int, bar: tqdm
) -> NDArray[np.float32]:
    # An empty picture tells the length, also where no frame can be read.
    width = embed(torch.zeros(1, 3, batches.size, batches.size, dtype=torch.uint8)).shape[1]
    rows = np.full((frames, width), np.nan, np.float32)
    start = 0
    for images, readable, _ in batches:
        if len(images):
            rows[start + np.flatnonzero(readable)] = embed(images).float().cpu().numpy()
        start += len(readable)
        bar.update(len(readable))
    return rows
