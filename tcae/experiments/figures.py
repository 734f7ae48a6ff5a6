"""Figures 4 and 5 of the paper, and the curves of few labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from tcae.data.shards import PackedDataset
from tcae.evaluation.disentanglement import flow_length
from tcae.evaluation.metrics import Array
from tcae.experiments.tables import Table, TableRow
from tcae.files.durable import write_durably
from tcae.measuring.trained import load_trained
from tcae.methods.training import pair_batches
from tcae.report.charts import Points, histogram, line_chart, standalone
from tcae.report.panels import pair_panel

_BATCH = 64
_ROWS = 8  # pairs in Figure 4
_PAPER = {"AU": 0.008, "pose": 0.044}


class TrainedCycle:
    """A trained twin cycle with its decoders, and pairs of frames it was not trained on.

    Args:
        run: The run directory.
        dataset: Packed frames. Those of the validation split are used.
        device: Where to compute.
    """

    def __init__(self, run: Path, dataset: PackedDataset, device: torch.device) -> None:
        trained = load_trained(run, device)
        self._objective, config = trained.objective, trained.config
        self._device = device
        self._pairs = pair_batches(config, dataset, "val", _BATCH)

    def panel(self, path: Path) -> None:
        """Write Figure 4: pairs, their reconstructions, flows and masks."""
        source, target = (images[:_ROWS] for images in self._pair(0))
        rgb = pair_panel(source, target, self._objective.pictures(source, target))
        content = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, content.tobytes())

    def lengths(self, pairs: int) -> dict[str, Array]:
        """Measure the mean displacement length of each pair, for both flows, in normalised units.

        Args:
            pairs: Number of pairs.
        """
        parts: dict[str, list[Array]] = {"AU": [], "pose": []}
        for step in range(-(-pairs // _BATCH)):
            pictures = self._objective.pictures(*self._pair(step))
            for name, flow in (("AU", pictures.au_flow), ("pose", pictures.pose_flow)):
                parts[name].append(flow_length(flow.float().cpu().numpy()))
        return {name: np.concatenate(part)[:pairs] for name, part in parts.items()}

    def _pair(self, step: int) -> list[Tensor]:
        return [images.to(self._device) for images in self._pairs(step)]


def length_histogram(path: Path, lengths: Mapping[str, Array]) -> None:
    """Write Figure 5: the distribution of mean displacement lengths."""
    au, pose = (float(lengths[name].mean()) for name in ("AU", "pose"))
    title = f"mean lengths: AU {au:.4f}, pose {pose:.4f}, ratio {pose / max(au, 1e-12):.2f}"
    samples = {f"{name} flow": values.tolist() for name, values in lengths.items()}
    _write_chart(path, histogram(title, samples))


def length_table(lengths: Mapping[str, Array]) -> Table:
    """Make the table of the two means of Figure 5 and their ratio, beside the paper's."""
    ours = {name: float(values.mean()) for name, values in lengths.items()}
    rows = [
        TableRow(
            "TCAE", "", (means["AU"], means["pose"], means["pose"] / max(means["AU"], 1e-12)), by
        )
        for by, means in (("ours", ours), ("paper", _PAPER))
    ]
    count = len(lengths["AU"])
    caption = f"Mean displacement length over {count} pairs, half the image is 1 (Figure 5)"
    return Table(caption, ("AU", "pose", "pose / AU"), tuple(rows), percent=False)


def few_label_chart(path: Path, curves: Mapping[str, Points]) -> None:
    """Write the curves of mean AUC over the share of subjects, in percent on a logarithmic axis."""
    lines = {name: [(np.log10(x), y) for x, y in points] for name, points in curves.items()}
    chart = line_chart("mean AUC over the % of subjects learned from", lines, 0.45, log=True)
    _write_chart(path, chart)


def _write_chart(path: Path, chart: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, standalone(chart).encode())
