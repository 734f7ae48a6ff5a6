from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tcae.evaluation.linear_probe import ProbeConfig, fit_probe
from tcae.experiments.scores import ProbeTrainer, scores_of, transferred, with_few_subjects

QUICK = ProbeConfig(steps=60, learning_rate=0.05)


def test_predictions_come_from_other_peoples_labels(numbers):
    features, labelled = numbers
    first = ProbeTrainer(labelled, config=QUICK).predict(features)
    mine = labelled.fold == 1
    flipped = np.where(mine[:, None], 1 - labelled.labels.values, labelled.labels.values)
    other = replace(labelled, labels=replace(labelled.labels, values=flipped))
    second = ProbeTrainer(other, config=QUICK).predict(features)
    np.testing.assert_array_equal(first[mine], second[mine])
    assert (first[~mine] != second[~mine]).any()
    assert scores_of(labelled, first).scores.auc_mean > 0.9


def test_unreadable_frames_are_neither_learned_from_nor_tested(numbers):
    features, labelled = numbers
    lost = np.arange(240) % 11 == 0
    holes = np.where(lost[:, None], np.nan, features)
    got = ProbeTrainer(labelled, config=QUICK).predict(holes)
    expected = ProbeTrainer(labelled.part(~lost), config=QUICK).predict(features[~lost])
    assert np.isnan(got[lost]).all()
    np.testing.assert_array_equal(got[~lost], expected)


def test_train_only_subjects_are_in_no_score(numbers):
    """As on GFT: a fold of -1 is learned from, and its people are not drawn in the bootstrap."""
    features, labelled = numbers
    split = replace(labelled, fold=np.where(labelled.fold == 0, 0, -1))
    probability = ProbeTrainer(split, config=QUICK).predict(features)
    assert np.isnan(probability[split.fold < 0]).all()
    tested = split.fold == 0
    result = scores_of(split, probability)
    alone = scores_of(split.part(tested), probability[tested])
    assert result.scores.frames.sum() == (~np.isnan(labelled.labels.values[tested])).sum()
    assert (result.auc.mean_low, result.auc.mean_high) == (alone.auc.mean_low, alone.auc.mean_high)


def test_few_subjects_learn_from_as_many_as_asked(numbers, monkeypatch):
    features, labelled = numbers
    seen: list[set[str]] = []

    def noted(x, values, names, **options):
        rows = [int(np.flatnonzero((features == row).all(1))[0]) for row in x]
        seen.append({labelled.labels.subjects[row] for row in rows})
        return fit_probe(x, values, names, **options)

    monkeypatch.setattr("tcae.experiments.scores.fit_probe", noted)
    probe_trainer = ProbeTrainer(labelled, config=QUICK)
    subjects = np.array(labelled.labels.subjects)
    few = with_few_subjects(probe_trainer, features, 0.2, draw=0)
    assert [len(people) for people in seen] == [2, 2, 2]  # of 8 others, rounded up
    for k, people in enumerate(seen):
        assert not people & set(subjects[labelled.fold == k])
    first, seen[:] = list(seen), []
    with_few_subjects(probe_trainer, features, 0.2, draw=1)
    assert seen != first
    seen.clear()
    more = with_few_subjects(probe_trainer, features, 0.5, draw=0)
    assert all(small <= large for small, large in zip(first, seen, strict=True))
    assert few < more + 0.05 and more > 0.85


def test_all_subjects_are_the_plain_protocol(numbers):
    features, labelled = numbers
    probe_trainer = ProbeTrainer(labelled, config=QUICK)
    expected = scores_of(labelled, probe_trainer.predict(features)).scores.auc_mean
    assert with_few_subjects(probe_trainer, features, 1.0, draw=0) == expected


def test_a_subject_without_both_classes_is_joined_by_others(numbers):
    features, labelled = numbers
    values = labelled.labels.values.copy()
    values[:] = (np.arange(240)[:, None] // 20) % 2  # every subject has one class only
    single = replace(labelled, labels=replace(labelled.labels, values=values))
    assert 0 <= with_few_subjects(ProbeTrainer(single, config=QUICK), features, 0.01, draw=0) <= 1


def test_transfer_picks_units_by_name(numbers):
    features, labelled = numbers
    probe = ProbeTrainer(labelled, config=QUICK).fit(features)
    holes = features.copy()
    holes[3] = np.nan
    unknown, got = np.split(transferred(probe, holes, ("AU99", "AU02")), 2, axis=1)
    assert got.shape == (240, 1) and np.isnan(got[3]).all() and np.isnan(unknown).all()
    known = ~np.isnan(labelled.labels.values[:, 1])
    known[3] = False
    assert roc_auc_score(labelled.labels.values[known, 1], got[known, 0]) > 0.9
    assert got[0, 0] == pytest.approx(probe.scores(features)[0, 1])
