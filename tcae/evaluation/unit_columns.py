"""The columns of a table that a probe fills: what its logits say of each action unit."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np

from tcae.evaluation.calibration import Floats, sigmoid
from tcae.evaluation.linear_probe import LinearProbe
from tcae.evaluation.table import Column


def unit_columns(probe: LinearProbe) -> tuple[Column, ...]:
    """Return the columns of the probe's units, of a kind after the other.

    ``AU12_c`` is 1 where the unit is present, else 0; ``AU12_p`` the probability of that;
    ``AU12_r`` the intensity from 0 to 5, if the calibration knows intensities. A probe without a
    calibration has ``AU12_score`` in place of both, from 0 to 1, and ``AU12_c`` is 1 from .5 on.
    """
    return (
        *(Column(f"{unit}_c", "int") for unit in probe.names),
        *(Column(f"{unit}_{kind}", "real") for kind in _kinds(probe) for unit in probe.names),
    )


def logit_columns(probe: LinearProbe) -> tuple[Column, ...]:
    """Return columns for the logits, from which all others can be made: ``AU12_logit``."""
    return tuple(Column(f"{unit}_logit", "real") for unit in probe.names)


def _kinds(probe: LinearProbe) -> tuple[str, ...]:
    """Return the endings of the columns with real numbers that the probe's units have."""
    if probe.calibration is None:
        return ("score",)
    return ("p",) if probe.calibration.intensity is None else ("p", "r")


def unit_values(probe: LinearProbe, logits: Floats) -> list[list[Any]]:
    """Return the values of `unit_columns` for logits (N, A), as N lists."""
    calibration = probe.calibration
    if calibration is None:
        values = [sigmoid(logits)]
        present = values[0] >= 0.5
    else:
        present, values = calibration.decisions(logits), [calibration.probabilities(logits)]
        if calibration.intensity is not None:
            values.append(calibration.intensities(logits))
    parts = [present.astype(np.int64).tolist(), *(value.tolist() for value in values)]
    return [list(chain.from_iterable(row)) for row in zip(*parts, strict=True)]
