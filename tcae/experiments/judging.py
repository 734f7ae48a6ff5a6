"""Predictions of each method on people that it has not learned from, and their scores."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tcae.evaluation.labelled_frames import LabelledFrames
from tcae.evaluation.linear_probe import LinearProbe, ProbeConfig, class_weights, fit_probe
from tcae.evaluation.metrics import Interval, Scores, bootstrap, score
from tcae.evaluation.protocol import out_of_fold

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Result:
    """Scores of a method: F1 at .5 and AUC of each unit, with 95 % intervals over subjects."""

    scores: Scores
    f1: Interval
    auc: Interval


@dataclass(frozen=True)
class Prober:
    """Trains probes on the features of labelled frames.

    Attributes:
        labelled: The frames.
        seed: Of the probes.
        device: Where they are trained.
        config: How they are trained.
    """

    labelled: LabelledFrames
    seed: int = 0
    device: str | torch.device = "cpu"
    config: ProbeConfig | None = None

    def predict(
        self, features: Floats, learners: Callable[[int], NDArray[np.bool_]] | None = None
    ) -> Floats:
        """Out-of-fold probabilities (n, A); NaN for frames that are not readable or not tested."""
        known = np.isfinite(features).all(1)
        fold = np.where(known, self.labelled.folds, -1)

        def fit(rows: NDArray[np.bool_]) -> LinearProbe:
            return self.fit(features, rows)

        return out_of_fold(fit, features, self.labelled.labels, fold, learners)

    def fit(self, features: Floats, rows: NDArray[np.bool_] | None = None) -> LinearProbe:
        """A probe trained on the readable ones of the rows (n,); of all if None."""
        known = np.isfinite(features).all(1)
        used = known if rows is None else known & rows
        labels = self.labelled.labels
        return fit_probe(
            features[used],
            labels.values[used],
            labels.names,
            config=self.config,
            seed=self.seed,
            device=self.device,
        )


def scores_of(labelled: LabelledFrames, probability: Floats, seed: int = 0) -> Result:
    """Scores of probabilities (n, A) of the frames that are tested, and their intervals."""
    tested = labelled.folds >= 0
    labels, given = labelled.part(tested).labels, probability[tested]
    f1, auc = bootstrap(labels.values, given, labels.subjects, seed=seed)
    return Result(score(labels.values, given), f1, auc)


def with_few_subjects(prober: Prober, features: Floats, share: float, draw: int) -> float:
    """Mean AUC of probes that learn from a share of the subjects only.

    Of each fold's training subjects the first ones of a shuffled list are taken, rounded up, and
    more if no unit has both classes among them; another `draw` shuffles otherwise. A unit that
    cannot be learned from them is predicted to be absent.
    """
    labelled = prober.labelled
    subjects = np.array(labelled.labels.subjects)

    def learners(k: int) -> NDArray[np.bool_]:
        others = sorted(set(subjects[labelled.folds != k]), key=lambda name: _shuffled(name, draw))
        count = math.ceil(share * len(others))
        while True:
            chosen = np.isin(subjects, others[:count])
            if count >= len(others) or class_weights(labelled.labels.values[chosen])[1].any():
                return chosen
            count += 1

    probability = prober.predict(features, learners)
    tested = np.isfinite(features).all(1) & (labelled.folds >= 0)
    probability[tested] = np.nan_to_num(probability[tested], nan=0.0)
    return score(labelled.labels.values, probability).auc_mean


def transferred(probe: LinearProbe, features: Floats, names: tuple[str, ...]) -> Floats:
    """Probabilities (n, A) of the units of that name on another data set.

    NaN where the frame is not readable, or the probe does not know the unit.
    """
    known = np.flatnonzero(np.isfinite(features).all(1))
    probability = np.full((len(features), len(names)), np.nan, np.float32)
    found = [name for name in names if name in probe.names]
    given = probe.probabilities(features[known])[:, [probe.names.index(n) for n in found]]
    columns = np.array([names.index(name) for name in found], np.int64)
    probability[np.ix_(known, columns)] = given
    return probability


def _shuffled(name: str, draw: int) -> str:
    return hashlib.sha256(f"{draw}/{name}".encode()).hexdigest()
