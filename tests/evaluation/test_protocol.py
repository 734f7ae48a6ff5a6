from __future__ import annotations

import csv
import json
import logging
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from tcae.data.labels import LabelTable, read_labels, select
from tcae.data.shards import PackedDataset
from tcae.evaluation.embedding import EmbeddedFrames, embed_frames
from tcae.evaluation.folds import TRAIN_ONLY
from tcae.evaluation.linear_probe import ProbeConfig, fit_probe, load_probe
from tcae.evaluation.metrics import bootstrap
from tcae.evaluation.protocol import cross_validate
from tcae.evaluation.results import summary, text_table, write_results

QUICK = ProbeConfig(steps=60, learning_rate=0.03)
NAMES = ("AU01", "AU02")


def case(seed: int = 0, subjects: int = 9, frames: int = 30):
    rng = np.random.default_rng(seed)
    count = subjects * frames
    features = rng.normal(size=(count, 6)).astype(np.float32)
    values = (features[:, :2] + 0.5 * rng.normal(size=(count, 2)) > 0.5).astype(np.float32)
    values[rng.random(values.shape) < 0.1] = np.nan
    names = tuple(f"S{i // frames}" for i in range(count))
    labels = LabelTable(NAMES, values, names, np.arange(count))
    return EmbeddedFrames(features, -features, "enc"), labels


def test_no_fold_learns_from_the_people_it_is_tested_on():
    embedded, labels = case()
    first = cross_validate(embedded, labels, config=QUICK)
    for k in range(3):
        mine = first.fold == k
        values = np.where(mine[:, None], 1 - labels.values, labels.values)
        second = cross_validate(embedded, replace(labels, values=values), config=QUICK)
        np.testing.assert_array_equal(second.fold, first.fold)
        np.testing.assert_array_equal(second.predicted[mine], first.predicted[mine])
        assert (second.predicted[~mine] != first.predicted[~mine]).any()


def test_every_frame_is_tested_once_and_scores_pool_the_folds():
    embedded, labels = case(1)
    results = cross_validate(embedded, labels, folds=4, config=QUICK)
    assert not np.isnan(results.predicted).any()
    by_subject = {s: set(results.fold[np.array(labels.subjects) == s]) for s in labels.subjects}
    assert all(len(folds) == 1 for folds in by_subject.values())
    assert set.union(*by_subject.values()) == {0, 1, 2, 3}
    for a in range(2):
        known = ~np.isnan(labels.values[:, a])
        truth, probability = labels.values[known, a], results.predicted[known, a]
        assert results.scores.f1[a] == pytest.approx(f1_score(truth, probability >= 0.5))
        assert results.scores.auc[a] == pytest.approx(roc_auc_score(truth, probability))
        assert results.scores.auc[a] > 0.8
        assert results.f1_interval.low[a] < results.scores.f1[a] < results.f1_interval.high[a]


def test_the_shipped_probe_has_seen_everybody():
    embedded, labels = case(2)
    results = cross_validate(embedded, labels, embedding="pose", seed=3, config=QUICK)
    expected = fit_probe(embedded.pose, labels.values, NAMES, config=QUICK, seed=3)
    np.testing.assert_array_equal(
        results.probe.scores(embedded.pose), expected.scores(embedded.pose)
    )
    assert (results.probe.embedding, results.probe.encoder) == ("pose", "enc")


def test_a_unit_that_one_fold_cannot_learn_is_said_and_not_guessed(caplog):
    embedded, labels = case(3)
    only_s4 = np.array([s == "S4" for s in labels.subjects])
    rare = np.where(only_s4, labels.values[:, 0], 0)
    never = np.zeros(len(rare))
    values = np.column_stack([labels.values, rare, never]).astype(np.float32)
    labels = replace(labels, names=(*NAMES, "AU09", "AU28"), values=values)
    with caplog.at_level(logging.WARNING):
        results = cross_validate(embedded, labels, config=QUICK)
    fold = results.fold[only_s4][0]
    assert np.isnan(results.predicted[results.fold == fold, 2]).all()
    assert not np.isnan(results.predicted[results.fold != fold, 2]).any()
    assert np.isnan(results.scores.f1[2:]).all() and not np.isnan(results.scores.f1_mean)
    assert results.probe.names == (*NAMES, "AU09")
    assert any("AU09, AU28: one class only in the training" in line for line in caplog.messages)
    assert caplog.messages[-1] == "AU09, AU28: one class only, no F1 and no AUC, not in the means"
    assert "f1_AU09" not in summary(results) and summary(results)["units_scored"] == 2
    (line,) = [line for line in text_table(results).splitlines() if line.startswith("AU28")]
    assert line.split() == ["AU28", "lip", "suck", "0", *["-"] * 6]


def test_given_folds():
    embedded, labels = case(4, subjects=3)
    results = cross_validate(embedded, labels, folds={"S0": 7, "S1": 2, "S2": 7}, config=QUICK)
    assert [results.fold[i * 30] for i in range(3)] == [1, 0, 1]
    with pytest.raises(ValueError, match="subject S2 has no fold"):
        cross_validate(embedded, labels, folds={"S0": 0, "S1": 1}, config=QUICK)
    with pytest.raises(ValueError, match="all readable frames are in one fold"):
        cross_validate(embedded, labels, folds=dict.fromkeys(labels.subjects, 0), config=QUICK)


def test_an_official_split_tests_the_test_subjects_alone():
    embedded, labels = case(8, subjects=9)
    split = {s: TRAIN_ONLY if s < "S4" else 0 for s in labels.subjects}
    results = cross_validate(embedded, labels, folds=split, config=QUICK)
    tested = np.array([s >= "S4" for s in labels.subjects])
    assert results.fold.tolist() == [0 if t else TRAIN_ONLY for t in tested]
    probe = fit_probe(embedded.au[~tested], labels.values[~tested], NAMES, config=QUICK)
    expected = probe.scores(embedded.au[tested])
    np.testing.assert_array_equal(results.predicted[tested], expected)
    assert np.isnan(results.predicted[~tested]).all()
    for a in range(2):
        known = tested & ~np.isnan(labels.values[:, a])
        truth, said = labels.values[known, a], results.predicted[known, a] >= 0.5
        assert results.scores.f1[a] == pytest.approx(f1_score(truth, said))
        assert results.scores.frames[a] == known.sum()
    numbers = summary(results)
    assert (numbers["frames"], numbers["frames_tested"], numbers["folds"]) == (270, 150, 1)
    people = [s for s in labels.subjects if s >= "S4"]
    f1, auc = bootstrap(labels.values[tested], results.predicted[tested], people)
    np.testing.assert_array_equal(results.f1_interval.low, f1.low)
    np.testing.assert_array_equal(results.auc_interval.high, auc.high)


def test_unreadable_frames_are_left_out():
    embedded, labels = case(5)
    embedded.au[7] = np.nan
    embedded = replace(embedded, failures=("x: damaged at frame 7",))
    results = cross_validate(embedded, labels, config=QUICK)
    assert 7 not in results.labels.frame_index and len(results.fold) == 269
    assert summary(results)["frames_failed"] == 1


def test_an_encoder_that_gives_nan_is_an_error():
    embedded, labels = case(6)
    embedded.au[7] = np.nan
    with pytest.raises(ValueError, match="encoder: its au embeddings are NaN"):
        cross_validate(embedded, labels, config=QUICK)
    with pytest.raises(ValueError, match="embedding: 'both' came"):
        cross_validate(embedded, labels, embedding="both")


def test_select():
    _, labels = case(7, subjects=2, frames=3)
    part = select(labels, np.array([0, 1, 0, 0, 1, 0], bool))
    assert part.subjects == ("S0", "S1") and part.frame_index.tolist() == [1, 4]
    np.testing.assert_array_equal(part.values, labels.values[[1, 4]])


def test_packed_data_to_files(tmp_path, pack_frames, encoder):
    """The red channel carries AU01, so the probe must find it and the files must say so."""
    rng = np.random.default_rng(0)
    on = rng.random((6, 12)) < 0.4

    def picture(clip: int, frame: int) -> np.ndarray:
        return np.full((32, 32, 3), (50 + 100 * on[clip, frame] + frame, 3 * clip, 40))

    clips = {(f"p{i}", f"p{i}", "0"): 12 for i in range(6)}
    dataset = PackedDataset(pack_frames(clips, picture=picture))
    lines = [f"p{i}/{k},p{i},{int(on[i, k])}" for i in range(6) for k in range(12)]
    (tmp_path / "labels.csv").write_text("\n".join(["frame,subject,AU01", *lines]))
    labels = read_labels(tmp_path / "labels.csv", dataset)
    embedded = embed_frames(encoder, dataset, labels.frame_index)
    results = cross_validate(embedded, labels, folds=2)
    out = tmp_path / "out"
    out.mkdir()
    write_results(out, results, dataset)
    numbers = json.loads((out / "summary.json").read_text())
    assert numbers["f1_AU01"] == numbers["f1_mean"] == 1.0 == numbers["auc_mean_low"]
    assert numbers["prevalence_AU01"] == pytest.approx(on.mean())
    assert numbers["f1_AU01_always"] == pytest.approx(f1_score(on.ravel(), np.ones(72)))
    assert (numbers["subjects"], numbers["frames"], numbers["folds"]) == (6, 72, 2)
    rows = list(csv.DictReader((out / "results.csv").open()))
    assert [row["unit"] for row in rows] == ["AU01", "mean"] and rows[0]["frames"] == "72"
    predictions = list(csv.DictReader((out / "predictions.csv").open()))
    assert predictions[13]["frame"] == "p1/0/1" and predictions[13]["subject"] == "p1"
    said = [float(row["AU01_score"]) >= 0.5 for row in predictions]
    assert said == on.ravel().tolist() == [row["AU01"] == "1" for row in predictions]
    assert load_probe(out).names == ("AU01",)
    table = text_table(results).splitlines()
    assert table[0].split()[:3] == ["frames", "prevalence", "F1"] and table[-1].startswith("mean")
