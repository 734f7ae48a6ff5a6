"""The figures of the paper: F1 x 100 of its Tables 1 and 2. Cells missing in its text are None."""

from __future__ import annotations

from typing import NamedTuple

Cells = tuple[float | None, ...]


class Row(NamedTuple):
    """A row of a table of the paper.

    Attributes:
        title: Name of the method.
        family: "descriptor", "supervised" or "self-supervised".
        method: Name of the same method here. None if there is none.
        values: F1 x 100 of the action units, in the order of the table.
        mean: Their mean, as printed.
    """

    title: str
    family: str
    method: str | None
    values: Cells
    mean: float


UNITS: dict[str, tuple[int, ...]] = {
    "bp4d": (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24),
    "disfa": (1, 2, 4, 6, 9, 12, 25, 26),
    "gft": (1, 2, 4, 6, 10, 12, 14, 15, 23, 24),
}
"""The action units that the paper evaluates, in the order of its tables."""

_D, _S, _N = "descriptor", "supervised", "self-supervised"

# fmt: off
_BP4D = (
    Row("Handcrafted", _D, "hog",
        (43.4, 40.7, 43.3, 59.2, 61.3, 62.1, 68.5, 52.5, 36.7, 54.3, 39.5, 37.8), 50.0),
    Row("ResNet-80 face", _D, None,
        (39.3, 40.6, 38.5, 64.2, 67.5, 71.0, 65.3, 57.2, 37.8, 51.3, 35.1, 32.6), 49.9),
    Row("VGG emotion", _D, None,
        (46.4, 36.3, 49.6, 76.0, 77.6, 80.2, 87.8, 60.8, 40.4, 59.1, 43.7, 48.2), 58.8),
    Row("AlexNet", _S, "alexnet",
        (40.3, 39.0, 41.7, 62.8, 54.2, 75.1, 78.1, 44.7, 32.9, 47.3, 27.3, 40.1), 48.6),
    Row("DRML", _S, "drml",
        (36.4, 41.8, 43.0, 55.0, 67.0, 66.3, 65.8, 54.1, 33.2, 48.0, 31.7, 30.0), 48.3),
    Row("EAC-Net", _S, None,
        (39.0, 35.2, 48.6, 76.1, 72.9, 81.9, 86.2, 58.8, 37.5, 59.1, 35.9, 35.8), 55.9),
    Row("ROI", _S, None,
        (36.2, 31.6, 43.4, 77.1, 73.7, 85.0, 87.0, 62.6, 45.7, 58.0, 38.3, 37.4), 56.4),
    Row("JAA-Net", _S, None,
        (47.2, 44.0, 54.9, 77.5, 74.6, 84.0, 86.9, 61.9, 43.6, 60.3, 42.7, 41.9), 60.0),
    Row("SplitBrain", _N, "split_brain",
        (39.0, 32.0, 39.7, 72.9, 70.6, 78.2, 83.7, 57.8, 37.3, 53.6, 32.3, 45.1), 53.5),
    Row("DeformAE", _N, "deforming_ae",
        (39.5, 34.5, 40.8, 70.5, 68.4, 76.3, 82.9, 60.7, 23.1, 54.1, 34.3, 43.1), 52.3),
    Row("Fab-Net", _N, "fab_net",
        (43.3, 35.7, 41.6, 72.9, 63.0, 75.9, 83.5, 57.7, 26.5, 48.2, 33.6, 42.4), 52.0),
    Row("TCAE", _N, "tcae",
        (43.1, 32.2, 44.4, 75.1, 70.5, 80.8, 85.5, 61.8, 34.7, 58.5, 37.2, 48.7), 56.1),
)
_DISFA = (
    Row("ResNet-80 face", _D, None, (24.9, 17.9, 49.5, 41.2, 26.2, 48.6, 56.4, None), 37.2),
    Row("VGG emotion", _D, None, (35.5, 25.5, 58.1, 53.8, 32.4, 74.4, 79.0, None), 51.8),
    Row("DRML", _S, "drml", (17.3, 17.7, 37.4, 29.0, 10.7, 37.7, 38.5, None), 26.7),
    Row("EAC-Net", _S, None, (41.5, 26.4, 66.4, 50.7, 80.5, 89.3, 88.9, 15.6), 48.5),
    Row("JAA-Net", _S, None, (43.7, 46.2, 56.0, 41.4, 44.7, 69.6, 88.3, None), 56.0),
    Row("SplitBrain", _N, "split_brain", (13.1, 10.6, 35.7, 40.2, 30.2, 57.5, 77.4, 40.3), 38.1),
    Row("DeformAE", _N, "deforming_ae", (17.6, 12.3, 46.7, 43.5, 26.0, 62.7, 64.8, 47.6), 40.1),
    Row("Fab-Net", _N, "fab_net", (15.5, 16.2, 43.2, 50.4, 23.2, 69.6, 72.4, 42.4), 41.6),
    Row("TCAE", _N, "tcae", (15.1, 15.2, 50.5, 48.7, 23.3, 72.1, 82.1, 52.9), 45.0),
)
# fmt: on

PUBLISHED: dict[str, tuple[Row, ...]] = {"bp4d": _BP4D, "disfa": _DISFA}
"""Tables 1 and 2 of the paper, with the means as printed. In rows that it copied from other papers
(DRML and EAC-Net), they are not the means of the printed cells."""
