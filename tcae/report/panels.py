"""Pictures to look at: pairs, what the model makes of them, flows in colour, masks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tcae.evaluation.disentanglement import Truth
from tcae.objectives.twin_cycle import Pictures

Picture = NDArray[np.uint8]

# The optical-flow colour wheel of Baker et al. (IJCV 2011): 55 hues, unevenly spaced so that they
# look even. Each entry: position on the wheel where the pure colour lies, and the colour.
_WHEEL = (
    (0, (255, 0, 0)),
    (15, (255, 255, 0)),
    (21, (0, 255, 0)),
    (25, (0, 255, 255)),
    (36, (0, 0, 255)),
    (49, (255, 0, 255)),
    (55, (255, 0, 0)),
)
_CELL = 128  # smallest side of a picture in a panel, in pixels
_GAP = 4
_HEADER = 40
_INK, _PAPER = (20, 20, 20), 255


class Column(NamedTuple):
    """One column of a panel.

    Attributes:
        title: Stands over the column.
        note: A second line under the title.
        pictures: (N, H, W, 3) uint8, from top to bottom.
        has_key: Whether the key to flow colours stands beside the title.
    """

    title: str
    note: str
    pictures: Picture
    has_key: bool = False


def flow_colours(flow: NDArray[Any], longest: float) -> Picture:
    """Return flow vectors as colours: the hue is the direction, the saturation the length.

    Right is red, down is yellow, left is cyan-blue, up is violet; no motion is white.

    Args:
        flow: (..., 2, H, W), x to the right and y downwards.
        longest: Length that gets full colour; longer vectors are darker.

    Returns:
        (..., H, W, 3) uint8 RGB.

    Raises:
        ValueError: The flow has another shape, or `longest` is not above 0.
    """
    if flow.ndim < 3 or flow.shape[-3] != 2:
        raise ValueError(f"flow: need (..., 2, H, W), got {flow.shape}")
    if not longest > 0:
        raise ValueError(f"longest: need a length above 0, got {longest}")
    x, y = np.moveaxis(np.nan_to_num(flow.astype(np.float64)), -3, 0)
    length = np.hypot(x, y)[..., None] / longest
    place = (np.arctan2(y, x) / (2 * np.pi) % 1) * _WHEEL[-1][0]
    stops, pure = zip(*_WHEEL, strict=True)
    channels = [np.interp(place, stops, channel) for channel in zip(*pure, strict=True)]
    hue = np.stack(channels, -1)
    colour = np.where(length <= 1, 255 - length * (255 - hue), 0.75 * hue)
    return np.round(colour).astype(np.uint8)


def colour_wheel(side: int) -> Picture:
    """Return the key to `flow_colours`: each pixel shows the vector from the centre to it."""
    axis = np.linspace(-1, 1, side)
    flow = np.stack(np.meshgrid(axis, axis))
    inside = np.hypot(*flow) <= 1
    return np.where(inside[..., None], flow_colours(flow, 1.0), _PAPER).astype(np.uint8)


def pair_panel(source: Tensor, target: Tensor, pictures: Pictures) -> Picture:
    """Return a panel with one row per pair and one column for each kind of picture.

    Args:
        source: Images (N, 3, S, S), uint8 or float in [0, 1].
        target: The same.
        pictures: What the model predicts for them.

    Returns:
        (H, W, 3) uint8 RGB with titles over the columns. Each flow column is scaled by its own
        largest length (99 % of all pixels are below), which stands under the title.
    """
    columns = [
        Column("source", "", _images(source)),
        Column("target", "", _images(target)),
        Column("reconstruction", "", _images(pictures.reconstruction)),
        Column("AU changed", "", _images(pictures.au_changed)),
        Column("pose changed", "", _images(pictures.pose_changed)),
        _flow_column("AU flow", pictures.au_flow),
        _flow_column("pose flow", pictures.pose_flow),
        *(Column(title, "white: 1", images) for title, images in _masks(pictures).items()),
    ]
    return panel(columns)


def explanation(titles: Collection[str]) -> str:
    """Say how to read the pictures of these titles, as those of `pair_pictures`."""
    words = [
        "Colours of flows: the hue is the direction (right red, down yellow, left cyan, up "
        "violet), the saturation the length."
    ]
    if any(title.startswith("truth") for title in titles):
        words.append("A flow and its truth share one scale.")
    if any("mask" in title for title in titles):
        words.append("White in a mask is 1.")
    return " ".join(words)


def pair_pictures(
    source: Tensor, target: Tensor, pictures: Pictures, truth: Truth | None
) -> list[dict[str, Picture]]:
    """Return the pictures of each pair by title.

    Args:
        source: Images (N, 3, S, S), uint8 or float in [0, 1].
        target: The same.
        pictures: What the model predicts for them.
        truth: What it should predict, if that is known.
    """
    columns = {"source": _images(source), "target": _images(target)}
    columns["reconstruction"] = _images(pictures.reconstruction)
    for name, title in (("au", "AU"), ("pose", "pose")):
        columns[f"{title} changed"] = _images(getattr(pictures, f"{name}_changed"))
        if truth is not None:
            images = torch.from_numpy(getattr(truth, f"{name}_changed"))
            columns[f"truth: {title} changed"] = _images(images)
    for name, title in (("au", "AU"), ("pose", "pose")):
        flow = _vectors(getattr(pictures, f"{name}_flow"))
        true = None if truth is None else getattr(truth, f"{name}_flow")
        longest = _longest(flow if true is None else np.concatenate([flow, true]))
        columns[f"{title} flow"] = flow_colours(flow, longest)
        if true is not None:
            columns[f"truth: {title} flow"] = flow_colours(true, longest)
    columns |= _masks(pictures)
    return [{name: column[i] for name, column in columns.items()} for i in range(len(source))]


def panel(columns: Sequence[Column]) -> Picture:
    """Return columns of pictures side by side under their titles, as one (H, W, 3) uint8 RGB."""
    return np.concatenate([_column(column) for column in columns], 1)


def _column(column: Column) -> Picture:
    size = max(_CELL, column.pictures.shape[1])
    header = np.full((_HEADER, size + _GAP, 3), _PAPER, np.uint8)
    for line, text in enumerate((column.title, column.note)):
        at = (_GAP, 16 + 17 * line)
        cv2.putText(header, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.45, _INK, 1, cv2.LINE_AA)
    if column.has_key:
        side = _HEADER - 2 * _GAP
        header[_GAP : _GAP + side, size - side : size] = colour_wheel(side)
    cells = [header]
    for picture in column.pictures:
        cell = np.full((size + _GAP, size + _GAP, 3), _PAPER, np.uint8)
        enlarged = cv2.resize(picture, (size, size), interpolation=cv2.INTER_CUBIC)
        cell[:size, _GAP // 2 : _GAP // 2 + size] = enlarged
        cells.append(cell)
    return np.concatenate(cells)


def _flow_column(title: str, flow: Tensor) -> Column:
    vectors = _vectors(flow)
    longest = _longest(vectors)
    # Half the image is 1 in the model's unit.
    pixels = longest * (flow.shape[-1] - 1) / 2
    return Column(title, f"full: {pixels:.2g} px", flow_colours(vectors, longest), has_key=True)


def _vectors(flow: Tensor) -> NDArray[np.float32]:
    vectors: NDArray[np.float32] = flow.detach().float().cpu().numpy()
    return vectors


def _longest(vectors: NDArray[Any]) -> float:
    """Return the length that gets full colour: 99 % are below."""
    return max(float(np.quantile(np.hypot(vectors[:, 0], vectors[:, 1]), 0.99)), 1e-6)


def _images(images: Tensor) -> Picture:
    values = images.detach().float().cpu()
    if images.is_floating_point():
        values = values.clamp(0, 1) * 255
    return values.round().byte().permute(0, 2, 3, 1).contiguous().numpy()


def _masks(pictures: Pictures) -> dict[str, Picture]:
    """Return the blending masks by their titles; empty where the flows are not blended."""
    masks = {"AU mask": pictures.au_mask, "pose mask": pictures.pose_mask}
    return {
        title: _images(mask.detach().float().expand(-1, 3, -1, -1))
        for title, mask in masks.items()
        if mask is not None
    }
