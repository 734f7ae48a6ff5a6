"""Features from a table that another program wrote."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tcae.data.shards import PackedDataset
from tcae.files.csv_text import open_table, separated


def read_features(
    path: Path, dataset: PackedDataset, frames: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Read the features of packed frames from a CSV table.

    The header of the table is ``frame,<one column per feature>``. Frames have the names that
    `PackedDataset.name` gives them. Rows of other frames are ignored. Semicolons or tabs may stand
    for the commas.

    Args:
        path: The table.
        dataset: The packed frames.
        frames: (n,) indices of the frames whose features are wanted.

    Returns:
        (n, D) features.

    Raises:
        ValueError: A frame is missing, or a cell is not a finite number. The error names it.
        OSError: The file cannot be read.
    """
    row_of = {dataset.name(int(frame)): row for row, frame in enumerate(frames)}
    with open_table(path) as file:
        lines, separator = separated(file, "frame")
        reader = csv.reader(lines, delimiter=separator)
        header = [cell.strip() for cell in next(reader, [])]
        unnamed = int(header[:2] == ["", "frame"])  # as pandas writes its index
        if header[unnamed : unnamed + 1] != ["frame"] or len(header) < unnamed + 2:
            raise ValueError(f"{path}: its header must be frame,<features>, not {header[:3]}")
        features = np.full((len(frames), len(header) - unnamed - 1), np.nan, np.float32)
        for cells in reader:
            row = row_of.get(cells[unnamed].strip()) if len(cells) > unnamed else None
            if row is None:
                continue
            try:
                features[row] = [float(cell) for cell in cells[unnamed + 1 :]]
            except ValueError as error:
                raise ValueError(f"{path}:{reader.line_num}: {error}") from None
    missing = np.flatnonzero(~np.isfinite(features).all(1))
    if len(missing):
        raise ValueError(
            f"{path}: no finite features for {len(missing)} of {len(frames)} frames, "
            f"as {dataset.name(int(frames[missing[0]]))}"
        )
    return features
