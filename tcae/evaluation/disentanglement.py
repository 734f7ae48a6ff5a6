"""Does the model tell facial action from head pose? Measures on faces of which the truth is known.

All figures are for people who are not in the training data. Pixel measures are sums over pairs
divided by sums over pairs, so that pairs with hardly any motion do not decide them. Intervals
resample people.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tcae.evaluation.estimates import Estimate, gain, r_squared, ratio
from tcae.evaluation.metrics import Array
from tcae.evaluation.ridge import predict_out_of_fold
from tcae.objectives.twin_cycle import Pictures

Floats = NDArray[np.floating]
Mask = NDArray[np.bool_]


class Truth(NamedTuple):
    """What a perfect model would predict for N pairs.

    Attributes:
        au_changed: (N, 3, S, S) in [0, 1], the source's pose with the target's facial action.
        pose_changed: The target's pose with the source's facial action.
        au_flow: (N, 2, S, S) in normalised units (1 = half the distance between the centres of the
            first and the last pixel), from `au_changed` to the source.
        pose_flow: The same from `pose_changed` to the source.
        au_face: (N, S, S), where `au_changed` shows the face and the source shows that point too.
        pose_face: The same for `pose_changed`.
        au_warped: The source warped by `au_flow`, about as near to `au_changed` as any warp comes.
        pose_warped: The source warped by `pose_flow`.
    """

    au_changed: Floats
    pose_changed: Floats
    au_flow: Floats
    pose_flow: Floats
    au_face: Mask
    pose_face: Mask
    au_warped: Floats
    pose_warped: Floats


def image_error(images: Floats, wanted: Floats) -> Array:
    """Return the mean absolute difference (N,) of images (N, 3, S, S)."""
    return np.abs(images.astype(np.float64) - wanted).mean((1, 2, 3))


def flow_length(flow: Floats, where: Mask | None = None) -> Array:
    """Return the mean length (N,) of vectors (N, 2, S, S) where a mask (N, S, S) is true."""
    length = np.hypot(flow[:, 0].astype(np.float64), flow[:, 1])
    where = np.ones(length.shape, bool) if where is None else where
    return np.where(where, length, 0).sum((1, 2)) / np.maximum(where.sum((1, 2)), 1)


def pair_values(
    source: Floats, target: Floats, made: Pictures, truth: Truth | None
) -> dict[str, Array]:
    """Return the values, (N,) each, that `pair_measures` adds up.

    Args:
        source: (N, 3, S, S) in [0, 1].
        target: The same.
        made: What the model makes of them.
        truth: What it should make of them, if that is known. Then lengths are means over the face
            (`Truth.au_face`, `Truth.pose_face`), otherwise over the whole picture.
    """
    values = {
        "recon": image_error(_array(made.reconstruction), target),
        "identity": image_error(source, target),
    }
    for name in ("au", "pose"):
        flow = _array(getattr(made, f"{name}_flow"))
        if truth is None:
            values[f"{name}_length"] = flow_length(flow)
            continue
        true_flow, face = getattr(truth, f"{name}_flow"), getattr(truth, f"{name}_face")
        wanted = getattr(truth, f"{name}_changed")
        values |= {
            f"{name}_length": flow_length(flow, face),
            f"{name}_true_length": flow_length(true_flow, face),
            f"{name}_epe": flow_length(flow - true_flow, face),
            f"{name}_image": image_error(_array(getattr(made, f"{name}_changed")), wanted),
            f"{name}_image_unmoved": image_error(source, wanted),
            f"{name}_image_exact": image_error(getattr(truth, f"{name}_warped"), wanted),
        }
    return values


def _array(values: Tensor) -> Floats:
    array: Floats = values.detach().float().cpu().numpy()
    return array


def pair_measures(values: Mapping[str, Array], subjects: Sequence[str]) -> dict[str, Estimate]:
    """Return the measures of values from `pair_values`.

    - recon_ratio: L1 of the reconstruction to the target over L1 of the unmoved source.
    - flow_length_ratio: mean pose-flow length over mean AU-flow length (the paper's Figure 5);
      flow_length_ratio_true: the same of the true flows.
    - au_flow_epe_gain, pose_flow_epe_gain: the share by which the end-point error to the true
      AU-only (pose-only) flow, inside the face, is lower than that of the zero flow.
    - au_image_gain, pose_image_gain: the share by which the L1 of the AU-changed (pose-changed)
      image to the rendered AU-only (pose-only) image is lower than that of the unmoved source;
      au_image_gain_exact, pose_image_gain_exact: the same of the source warped by the true flow.
      No warp can do much better.

    Args:
        values: (N,) each. Without truth they give recon_ratio and flow_length_ratio only.
        subjects: (N,) the person of each pair.
    """
    measures = {
        "recon_ratio": ratio(values["recon"], values["identity"], subjects),
        "flow_length_ratio": ratio(values["pose_length"], values["au_length"], subjects),
    }
    if "au_true_length" not in values:
        return measures
    lengths = values["pose_true_length"], values["au_true_length"]
    measures["flow_length_ratio_true"] = ratio(*lengths, subjects)
    for name in ("au", "pose"):
        still = values[f"{name}_true_length"]  # the zero flow's end-point error
        unmoved = values[f"{name}_image_unmoved"]
        measures[f"{name}_flow_epe_gain"] = gain(values[f"{name}_epe"], still, subjects)
        measures[f"{name}_image_gain"] = gain(values[f"{name}_image"], unmoved, subjects)
        exact = values[f"{name}_image_exact"]
        measures[f"{name}_image_gain_exact"] = gain(exact, unmoved, subjects)
    return measures


def pose_r2(embeddings: Floats, pose: Floats, subjects: Sequence[str], seed: int = 0) -> Estimate:
    """Return how well ridge regression reads the head pose out of an embedding.

    It is the R^2 over all folds (`predict_out_of_fold`; no two folds share a person), the mean of
    yaw, pitch and roll.

    Args:
        embeddings: (N, D).
        pose: (N, 3) yaw, pitch, roll.
        subjects: (N,) the person of each row.
        seed: Of the folds.
    """
    predictions = predict_out_of_fold(embeddings, pose, subjects, seed=seed)
    return r_squared(pose.astype(np.float64), predictions, np.array(subjects))


Measures = Mapping[str, Estimate]


@dataclass(frozen=True)
class Goal:
    """What a measure should reach.

    Attributes:
        title: What is measured, for people.
        wanted: The goal in words, empty for a baseline.
        met: Whether the measures of a run reach it.
        percent: Whether the figure is shown as a percentage.
    """

    title: str
    wanted: str = ""
    met: Callable[[Measures], bool] = lambda measures: True
    percent: bool = False

    def reached(self, measures: Measures) -> bool | None:
        """Return whether a run reaches the goal; None if a measure is missing, or without goal."""
        try:
            return self.met(measures) if self.wanted else None
        except KeyError:
            return None


def _above_baselines(measures: Measures) -> bool:
    auc = measures["au_auc"]
    if math.isnan(auc.low):
        raise KeyError("au_auc: its interval is not known")
    return auc.value >= 0.8 and all(
        auc.low > measures[f"au_auc_{name}"].value for name in ("random", "pixels", "fabnet")
    )


GOALS: dict[str, Goal] = {
    "recon_ratio": Goal(
        "reconstruction L1 / unmoved source L1", "≤ .50", lambda f: f["recon_ratio"].value <= 0.5
    ),
    "au_auc": Goal(
        "AU probe on the AU embedding, mean AUC",
        "≥ .80, interval above the baselines",
        _above_baselines,
    ),
    "au_auc_random": Goal("– on an encoder with random weights"),
    "au_auc_pixels": Goal("– on raw 16×16 pixels"),
    "au_auc_fabnet": Goal("– on FAb-Net, trained as long"),
    "au_auc_from_pose": Goal(
        "AU probe on the pose embedding, mean AUC",
        "≥ .05 below the AU embedding's",
        lambda f: f["au_auc_from_pose"].value <= f["au_auc"].value - 0.05,
    ),
    "pose_r2_from_pose": Goal(
        "pose from the pose embedding, mean R²",
        "≥ .85",
        lambda f: f["pose_r2_from_pose"].value >= 0.85,
    ),
    "pose_r2_from_au": Goal(
        "pose from the AU embedding, mean R²", "≤ .20", lambda f: f["pose_r2_from_au"].value <= 0.2
    ),
    "flow_length_ratio": Goal(
        "mean pose-flow length / mean AU-flow length",
        "within a factor of 2 of the true ratio",
        lambda f: 0.5 <= f["flow_length_ratio"].value / f["flow_length_ratio_true"].value <= 2,
    ),
    "flow_length_ratio_true": Goal("– of the true flows"),
    "au_flow_epe_gain": Goal(
        "AU flow: end-point error below the zero flow's, in the face",
        "≥ 30 %",
        lambda f: f["au_flow_epe_gain"].value >= 0.3,
        percent=True,
    ),
    "pose_flow_epe_gain": Goal(
        "pose flow: the same",
        "≥ 60 %",
        lambda f: f["pose_flow_epe_gain"].value >= 0.6,
        percent=True,
    ),
    "au_image_gain": Goal(
        "AU-changed image: L1 to the truth below the source's",
        "≥ 20 %",
        lambda f: f["au_image_gain"].value >= 0.2,
        percent=True,
    ),
    "au_image_gain_exact": Goal("– of the source warped by the true flow", percent=True),
    "pose_image_gain": Goal(
        "pose-changed image: the same",
        "≥ 50 %",
        lambda f: f["pose_image_gain"].value >= 0.5,
        percent=True,
    ),
    "pose_image_gain_exact": Goal("– of the source warped by the true flow", percent=True),
    "clips_correlation": Goal(
        "real clips: AU outputs with a landmarker's scores, mean correlation",
        "≥ .50",
        lambda f: f["clips_correlation"].value >= 0.5,
    ),
}
"""The measures in the order of the report."""
