from __future__ import annotations

import numpy as np
import pytest

from tcae.evaluation.metrics import Interval, Scores
from tcae.experiments.plan import Entry
from tcae.experiments.published import UNITS
from tcae.experiments.score_tables import score_tables
from tcae.experiments.scores import Result

NAN = np.full(8, np.nan)


def result(f1: float) -> Result:
    prevalence = np.array([0.5, 0.2, *[0.1] * 5, 1.0])
    values = np.array([f1] * 7 + [np.nan])
    scores = Scores(np.full(8, 100.0), prevalence, values, values + 0.1)
    return Result(scores, Interval(NAN, NAN, f1 - 0.1, f1 + 0.1), Interval(NAN, NAN, 0.0, 1.0))


SOURCES = {
    "mine": Entry("mine", "descriptor"),
    "tcae": Entry("TCAE", "self-supervised"),
    "fab_net": Entry("Fab-Net", "self-supervised"),
    "drml": Entry("DRML", "supervised"),
}


def tables(name: str = "disfa"):
    results = {n: result(0.1 * i + 0.2) for i, n in enumerate(SOURCES)}
    return score_tables(name, UNITS["disfa"], SOURCES, results, "about")


def test_ours_stand_beside_the_papers_in_its_order():
    found = [(line.title, line.source) for line in tables()["f1"].rows]
    assert found == [
        ("always present", "ours"),
        ("mine", "ours"),
        ("ResNet-80 face", "paper"),
        ("VGG emotion", "paper"),
        ("DRML", "ours"),
        ("DRML", "paper"),
        ("EAC-Net", "paper"),
        ("JAA-Net", "paper"),
        ("SplitBrain", "paper"),
        ("DeformAE", "paper"),
        ("Fab-Net", "ours"),
        ("Fab-Net", "paper"),
        ("TCAE", "ours"),
        ("TCAE", "paper"),
    ]
    assert tables()["f1"].columns == ("1", "2", "4", "6", "9", "12", "25", "26", "ave")


def test_values_are_shares_and_end_with_the_mean():
    by_row = {(line.title, line.source): line for line in tables()["f1"].rows}
    ours, paper = by_row["TCAE", "ours"], by_row["TCAE", "paper"]
    assert ours.values[:7] == pytest.approx([0.3] * 7) and ours.values[8] == pytest.approx(0.3)
    assert (ours.low, ours.high) == pytest.approx((0.2, 0.4))
    assert paper.values == pytest.approx(
        [0.151, 0.152, 0.505, 0.487, 0.233, 0.721, 0.821, 0.529, 0.450]
    )
    assert np.isnan(by_row["VGG emotion", "paper"].values[7])


def test_the_baseline_calls_every_frame_positive():
    always = tables()["f1"].rows[0]
    assert always.values[:3] == pytest.approx([2 / 3, 1 / 3, 0.2 / 1.1])
    assert np.isnan(always.values[7])  # a unit without negatives has no score
    assert always.values[8] == pytest.approx(np.mean(always.values[:7]))


def test_auc_has_our_rows_only_and_other_sets_have_no_paper():
    assert {line.source for line in tables()["auc"].rows} == {"ours"}
    assert len(tables()["auc"].rows) == 4
    assert {line.source for line in tables("synthetic")["f1"].rows} == {"ours"}
