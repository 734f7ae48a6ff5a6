"""The paper's evaluation (section 4.1): linear probes on folds that never share a person."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from tcae.data.labels import LabelTable, select
from tcae.evaluation.calibration import calibrate, log_odds
from tcae.evaluation.embedding import EmbeddedFrames
from tcae.evaluation.folds import TRAIN_ONLY, subject_folds
from tcae.evaluation.linear_probe import LinearProbe, ProbeConfig, fit_probe
from tcae.evaluation.metrics import Interval, Scores, bootstrap, score

log = logging.getLogger(__name__)


class Predictor(Protocol):
    """Something trained that predicts A action units, such as a `LinearProbe`."""

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the action units."""
        ...

    def scores(self, features: Any) -> NDArray[np.float32]:
        """Return scores (N, A) in [0, 1] of N rows of what it was trained on."""
        ...


@dataclass(frozen=True)
class ProbeResults:
    """The result of a probe evaluation, of n frames and A action units.

    Attributes:
        labels: The labelled frames that could be read.
        fold: (n,) the fold that tests each frame; `TRAIN_ONLY` if none does.
        predicted: (n, A) out-of-fold scores in [0, 1]; NaN where no probe could be trained, and for
            frames that no fold tests.
        scores: F1, AUC and prevalence over all tested frames, each tested once.
        f1_interval: 95 % bootstrap over subjects.
        auc_interval: 95 % bootstrap over subjects.
        probe: A probe trained on all frames, for use on new ones, calibrated by the out-of-fold
            scores.
        failures: One line for each frame that could not be read.
    """

    labels: LabelTable
    fold: NDArray[np.int64]
    predicted: NDArray[np.float32]
    scores: Scores
    f1_interval: Interval
    auc_interval: Interval
    probe: LinearProbe
    failures: tuple[str, ...]


def cross_validate(
    embedded: EmbeddedFrames,
    labels: LabelTable,
    *,
    folds: int | Mapping[str, int] = 3,
    embedding: str = "au",
    seed: int = 0,
    device: str | torch.device = "cpu",
    config: ProbeConfig | None = None,
) -> ProbeResults:
    """Test every frame with a linear probe that was trained on other people.

    A probe that was trained on the other folds predicts each fold. The scores pool the predictions
    of all folds. A unit with one class only among the training frames of a fold is not predicted in
    that fold, and one warning line says so. A last probe is trained on all frames.

    Args:
        embedded: Embeddings of ``labels.frame_index``; unreadable frames are left out.
        labels: The n labelled frames.
        folds: Their number, or the fold of each subject (`TRAIN_ONLY`: never tested).
        embedding: ``"au"`` or ``"pose"``.
        seed: Of the folds, the probes and the bootstrap.
        device: Where to train the probes.
        config: How to train them.

    Raises:
        ValueError: Fewer subjects than folds, a subject without a fold, or nothing to learn.
    """
    config = config or ProbeConfig()
    features = embedded.of(embedding)
    readable = np.array([np.isfinite(row).all() for row in features], bool)
    if len(features) - int(readable.sum()) > len(embedded.failures):
        raise ValueError(f"encoder: its {embedding} embeddings are NaN for frames that are not")
    labels, features = select(labels, readable), features[readable]
    fold = fold_of_each(labels, folds, seed)
    fits = int(fold.max()) + 2
    with tqdm(total=fits * config.steps, desc="probes", unit="step", disable=None) as bar:

        def fit(rows: NDArray[np.bool_]) -> LinearProbe:
            return fit_probe(
                features[rows],
                labels.values[rows],
                labels.names,
                config=config,
                seed=seed,
                device=device,
                advance=bar.update,
            )

        predicted = out_of_fold(fit, features, labels, fold)
        probe = fit(np.ones(len(features), bool)).cpu()
    probe.embedding, probe.encoder = embedding, embedded.encoder
    return judge(labels, fold, predicted, probe, embedded.failures, seed)


def judge(
    labels: LabelTable,
    fold: NDArray[np.int64],
    predicted: NDArray[np.float32],
    probe: LinearProbe,
    failures: tuple[str, ...],
    seed: int = 0,
    intensities: NDArray[np.float32] | None = None,
) -> ProbeResults:
    """Score out-of-fold predictions and calibrate the probe by them. Warn of units without a score.

    Args:
        labels: The n labelled frames.
        fold: (n,) the fold that tests each frame, or `TRAIN_ONLY`.
        predicted: (n, A) out-of-fold scores.
        probe: The probe for use on new frames. It gets its calibration here.
        failures: One line for each frame that could not be read.
        seed: Of the bootstrap.
        intensities: (n, A) in [0, 1], if they are known.
    """
    tested = fold != TRAIN_ONLY
    scores = score(labels.values[tested], predicted[tested])
    people = np.array(labels.subjects)[tested]
    f1, auc = bootstrap(labels.values[tested], predicted[tested], people, seed=seed)
    no_score = [n for n, f1 in zip(labels.names, scores.f1, strict=True) if np.isnan(f1)]
    if no_score:
        log.warning("%s: one class only, no F1 and no AUC, not in the means", ", ".join(no_score))
    known = None if intensities is None else intensities[tested]
    calibrate_probe(probe, select(labels, tested), predicted[tested], known)
    return ProbeResults(labels, fold, predicted, scores, f1, auc, probe, failures)


def calibrate_probe(
    probe: LinearProbe,
    labels: LabelTable,
    predicted: NDArray[np.float32],
    intensities: NDArray[np.float32] | None = None,
) -> None:
    """Give a probe the calibration that fits people whom no training saw.

    Args:
        probe: The probe, of some of the A units.
        labels: Labels of n frames.
        predicted: (n, A) scores of probes that have not learned from these people; NaN = none.
        intensities: (n, A) in [0, 1], if they are known.
    """
    columns = [labels.names.index(name) for name in probe.names]
    known = None if intensities is None else intensities[:, columns]
    logits = log_odds(predicted[:, columns])
    probe.calibration = calibrate(logits, labels.values[:, columns], known)


def fold_of_each(
    labels: LabelTable, folds: int | Mapping[str, int], seed: int
) -> NDArray[np.int64]:
    """Return the fold of each frame, (n,): 0 to K - 1 without a gap, or `TRAIN_ONLY`.

    Raises:
        ValueError: Fewer subjects than folds, or a subject without a fold.
    """
    fold_of = subject_folds(labels.subjects, folds, seed) if isinstance(folds, int) else folds
    for subject in labels.subjects:
        if subject not in fold_of:
            raise ValueError(f"folds: subject {subject} has no fold")
    fold = np.array([fold_of[subject] for subject in labels.subjects], np.int64)
    if len(np.unique(fold)) < 2:
        raise ValueError("folds: all readable frames are in one fold, 2 or more are needed")
    without_gap = np.unique(fold[fold != TRAIN_ONLY])
    return np.where(fold == TRAIN_ONLY, TRAIN_ONLY, np.searchsorted(without_gap, fold))


def out_of_fold(
    fit: Callable[[NDArray[np.bool_]], Predictor],
    features: NDArray[Any],
    labels: LabelTable,
    fold: NDArray[np.int64],
    learners: Callable[[int], NDArray[np.bool_]] | None = None,
) -> NDArray[np.float32]:
    """Predict each frame by the probe that was trained without its fold.

    Args:
        fit: Trains a probe on the rows of a mask (n,).
        features: (n, D), or (n, ...) whatever the probe predicts from.
        labels: The n labelled frames.
        fold: (n,) from 0; frames of a negative fold train every probe and are never tested.
        learners: Gives the frames (n,) that train the probe for a fold; by default all frames of
            other folds.

    Returns:
        Scores (n, A); NaN where no probe could be trained, or where no fold tests the frame.
    """
    predicted = np.full(labels.values.shape, np.nan, np.float32)
    for k in range(int(fold.max()) + 1):
        probe = fit(fold != k if learners is None else learners(k))
        columns = [labels.names.index(name) for name in probe.names]
        predicted[np.ix_(fold == k, columns)] = probe.scores(features[fold == k])
        missing = [name for name in labels.names if name not in probe.names]
        if missing and learners is None:  # few frames lack classes: who chose them knows
            log.warning(
                "%s: one class only in the training frames of fold %d, not predicted there",
                ", ".join(missing),
                k,
            )
    return predicted
