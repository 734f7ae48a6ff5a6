from __future__ import annotations

from tcae.evaluation.estimates import Estimate
from tcae.report.goals import goal_rows, goals_markdown, goals_text, verdict

FIGURES = {
    "au_image_gain": Estimate(0.254, 0.2, 0.3), "recon_ratio": Estimate(0.6),
    "steps": Estimate(100.0), "flow_length_ratio_true": Estimate(3.7), "au_auc": Estimate(0.9),
}  # fmt: skip


def test_rows_in_the_order_of_the_goals():
    rows = goal_rows(FIGURES)
    assert [(row.measured, row.interval, row.reached) for row in rows] == [
        ("0.600", "–", False),
        ("0.900", "–", None),  # its interval, which the goal speaks of, is missing
        ("3.700", "–", None),  # a baseline
        ("25%", "20% to 30%", True),
    ]
    assert [row.verdict for row in rows] == ["missed", "", "", "reached"]


def test_a_goal_that_needs_the_truth_is_not_named_without_it():
    ratio = {"flow_length_ratio": Estimate(3.0)}
    assert [row.wanted for row in goal_rows(ratio)] == [""]
    known = goal_rows(ratio | {"flow_length_ratio_true": Estimate(2.0)})
    assert [row.wanted for row in known] == ["within a factor of 2 of the true ratio", ""]


def test_what_rounds_to_nothing_has_no_sign():
    values = {"au_image_gain": -0.001, "pose_r2_from_au": -0.0004, "pose_image_gain": -0.02}
    figures = {name: Estimate(value) for name, value in values.items()}
    assert [row.measured for row in goal_rows(figures)] == ["0.000", "0%", "-2%"]


def test_text_is_aligned():
    lines = goals_text(FIGURES).splitlines()
    assert len(lines) == 5
    places = {line.index(cell) + len(cell) for line, cell in zip(
        lines, ["measured", "0.600", "0.900", "3.700", "25%"], strict=True
    )}  # fmt: skip
    assert len(places) == 1
    assert lines[1].endswith("missed") and lines[4].endswith("reached")
    assert lines[2] == lines[2].rstrip()


def test_markdown():
    lines = goals_markdown(FIGURES).splitlines()
    assert lines[2] == "| reconstruction L1 / unmoved source L1 | 0.600 | – | ≤ .50 | missed |"
    assert {line.count("|") for line in lines} == {6}


def test_the_verdict_counts_goals_and_says_what_is_told():
    assert verdict(FIGURES) == (
        "1 of 2 goals is reached; the AU embedding tells action units with a mean AUC of 0.900."
    )
    both = verdict({"au_auc": Estimate(0.7, 0.6, 0.8), "pose_r2_from_pose": Estimate(0.9)})
    assert both.startswith("1 of 2 goals is reached; the AU embedding tells action units with a ")
    assert both.endswith(
        "AUC of 0.700, the pose embedding tells the head pose with a mean R² of 0.900."
    )
    assert verdict({"recon_ratio": Estimate(0.6)}) == "0 of 1 goals are reached."
    assert verdict({"au_auc": Estimate(0.9)}) == verdict({}) == ""  # whether it is, is not known
