"""Features that somebody else computed, from a table."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tcae.data.shards import PackedDataset


def read_features(
    path: Path, dataset: PackedDataset, frames: NDArray[np.int64]
) -> NDArray[np.float32]:
    """The features of packed frames from a CSV table.

    Its header is ``frame,<one column per feature>``; frames are named as `PackedDataset.name`
    does. Other rows are passed over.

    Args:
        path: the table.
        dataset: the packed frames.
        frames: (n,) which of them.

    Returns:
        (n, D) features.

    Raises:
        ValueError: a frame is missing, or a cell is no finite number; it is named.
        OSError: the file cannot be read.
    """
    place = {dataset.name(int(frame)): row for row, frame in enumerate(frames)}
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        header = next(reader, [])
        if header[:1] != ["frame"] or len(header) < 2:
            raise ValueError(f"{path}: its header must be frame,<features>, not {header[:3]}")
        features = np.full((len(frames), len(header) - 1), np.nan, np.float32)
        for cells in reader:
            row = place.get(cells[0]) if cells else None
            if row is None:
                continue
            try:
                features[row] = [float(cell) for cell in cells[1:]]
            except ValueError as error:
                raise ValueError(f"{path}:{reader.line_num}: {error}") from None
    lost = np.flatnonzero(~np.isfinite(features).all(1))
    if len(lost):
        raise ValueError(
            f"{path}: no finite features for {len(lost)} of {len(frames)} frames, "
            f"as {dataset.name(int(frames[lost[0]]))}"
        )
    return features
