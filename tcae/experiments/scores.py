"""Predictions of a method for people it has not learned from, and their scores."""

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
    """The scores of a method: F1 at threshold .5 and AUC of each unit, with 95 % intervals."""

    scores: Scores
    f1: Interval
    auc: Interval


@dataclass(frozen=True)
class ProbeTrainer:
    """A way to train probes on the features of labelled frames.

    Attributes:
        labelled: The labelled frames.
        seed: Seed of the probes' training.
        device: Where probes are trained.
        config: How probes are trained. None: as usual.
    """

    labelled: LabelledFrames
    seed: int = 0
    device: str | torch.device = "cpu"
    config: ProbeConfig | None = None

    def predict(
        self, features: Floats, learners: Callable[[int], NDArray[np.bool_]] | None = None
    ) -> Floats:
        """Predict probabilities (n, A) of frames by probes that have not learned from their fold.

        Args:
            features: (n, D) features of the labelled frames. NaN for frames that cannot be read.
            learners: Returns which frames (n,) the probe of a fold learns from. None: all of other
                folds.

        Returns:
            (n, A) probabilities. NaN for frames that cannot be read or are in no tested fold.
        """
        readable = np.isfinite(features).all(1)
        fold = np.where(readable, self.labelled.folds, -1)

        def fit(rows: NDArray[np.bool_]) -> LinearProbe:
            return self.fit(features, rows)

        return out_of_fold(fit, features, self.labelled.labels, fold, learners)

    def fit(self, features: Floats, rows: NDArray[np.bool_] | None = None) -> LinearProbe:
        """Train a probe on those rows (n,) that are readable, or on all readable ones if None."""
        readable = np.isfinite(features).all(1)
        used = readable if rows is None else readable & rows
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
    """Score probabilities (n, A) on the frames that are tested, with intervals over subjects."""
    tested = labelled.folds >= 0
    labels, predicted = labelled.part(tested).labels, probability[tested]
    f1, auc = bootstrap(labels.values, predicted, labels.subjects, seed=seed)
    return Result(score(labels.values, predicted), f1, auc)


def with_few_subjects(
    probe_trainer: ProbeTrainer, features: Floats, share: float, draw: int
) -> float:
    """Return the mean AUC of probes that learn from a share of the subjects only.

    From each fold's training subjects, the first of a shuffled list are taken: the share, rounded
    up, or more if no unit has both classes among them. A unit that cannot be learned from them is
    predicted to be absent.

    Args:
        probe_trainer: Trains the probes.
        features: (n, D) features of the labelled frames.
        share: The share of the training subjects.
        draw: Number of the shuffle. Each draw shuffles the subjects differently.
    """
    labelled = probe_trainer.labelled
    subjects = np.array(labelled.labels.subjects)

    def learners(k: int) -> NDArray[np.bool_]:
        others = sorted(set(subjects[labelled.folds != k]), key=lambda name: _shuffled(name, draw))
        count = math.ceil(share * len(others))
        while True:
            chosen = np.isin(subjects, others[:count])
            if count >= len(others) or class_weights(labelled.labels.values[chosen])[1].any():
                return chosen
            count += 1

    probability = probe_trainer.predict(features, learners)
    tested = np.isfinite(features).all(1) & (labelled.folds >= 0)
    probability[tested] = np.nan_to_num(probability[tested], nan=0.0)
    return score(labelled.labels.values, probability).auc_mean


def transferred(probe: LinearProbe, features: Floats, names: tuple[str, ...]) -> Floats:
    """Predict probabilities (n, A) of named units for the frames of another data set.

    They are NaN for frames that cannot be read and for units that the probe does not know.
    """
    readable = np.flatnonzero(np.isfinite(features).all(1))
    probability = np.full((len(features), len(names)), np.nan, np.float32)
    known = [name for name in names if name in probe.names]
    predicted = probe.scores(features[readable])[:, [probe.names.index(n) for n in known]]
    columns = np.array([names.index(name) for name in known], np.int64)
    probability[np.ix_(readable, columns)] = predicted
    return probability


def _shuffled(name: str, draw: int) -> str:
    return hashlib.sha256(f"{draw}/{name}".encode()).hexdigest()
