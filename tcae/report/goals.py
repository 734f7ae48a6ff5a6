"""Measures beside their goals: as cells of a page, lines on a terminal, or a Markdown table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from tcae.evaluation.disentanglement import GOALS
from tcae.evaluation.estimates import Estimate

_HEADLINES = {
    "au_auc": "the AU embedding tells action units with a mean AUC",
    "pose_r2_from_pose": "the pose embedding tells the head pose with a mean R²",
}


class GoalRow(NamedTuple):
    """One measure as text.

    Attributes:
        title: What is measured.
        measured: The figure.
        interval: Its 95 % interval, a dash if there is none.
        wanted: The goal, empty for a baseline or if measures for it are missing.
        reached: Whether it is reached; None without goal, or if measures for it are missing.
    """

    title: str
    measured: str
    interval: str
    wanted: str
    reached: bool | None

    @property
    def verdict(self) -> str:
        """Return `reached`, `missed` or nothing."""
        return {True: "reached", False: "missed", None: ""}[self.reached]


def goal_rows(measures: Mapping[str, Estimate]) -> list[GoalRow]:
    """Make a row for each measure that a run has, in the order of `GOALS`."""
    rows = []
    for name, goal in GOALS.items():
        if name not in measures:
            continue
        value, *ends = measures[name]
        interval = "–"
        if not any(map(math.isnan, ends)):
            interval = " to ".join(_rounded(end, goal.percent) for end in ends)
        shown, reached = _rounded(value, goal.percent), goal.reached(measures)
        wanted = "" if reached is None else goal.wanted
        rows.append(GoalRow(goal.title, shown, interval, wanted, reached))
    return rows


def verdict(measures: Mapping[str, Estimate]) -> str:
    """Return in a sentence how far a run came; empty if nothing was measured that has a goal.

    Example:
        >>> verdict({"recon_ratio": Estimate(0.4), "pose_r2_from_pose": Estimate(0.5)})
        '1 of 2 goals is reached; the pose embedding tells the head pose with a mean R² of 0.500.'
    """
    known = [row for row in goal_rows(measures) if row.reached is not None]
    if not known:
        return ""
    reached = sum(bool(row.reached) for row in known)
    told = [
        f"{words} of {_rounded(measures[name].value, False)}"
        for name, words in _HEADLINES.items()
        if name in measures
    ]
    count = f"{reached} of {len(known)} goals {'is' if reached == 1 else 'are'} reached"
    return f"{'; '.join([count, ', '.join(told)]) if told else count}."


def _rounded(value: float, percent: bool) -> str:
    """Return a rounded number, without a sign if it rounds to zero."""
    rounded = round(value, 2 if percent else 3) + 0.0
    return f"{rounded:.0%}" if percent else f"{rounded:.3f}"


def goals_text(measures: Mapping[str, Estimate]) -> str:
    """Return the rows as aligned text."""
    cells = [("measure", "measured", "95 %", "goal", "")]
    cells += [(*row[:4], row.verdict) for row in goal_rows(measures)]
    wide = [max(len(row[i]) for row in cells) for i in range(5)]
    lines = [
        f"{a:{wide[0]}}  {b:>{wide[1]}}  {c:>{wide[2]}}  {d:{wide[3]}}  {e}"
        for a, b, c, d, e in cells
    ]
    return "\n".join(line.rstrip() for line in lines)


def goals_markdown(measures: Mapping[str, Estimate]) -> str:
    """Return the rows as a table in Markdown."""
    lines = ["| measure | measured | 95 % | goal | |", "| --- | ---: | ---: | --- | --- |"]
    lines += [
        f"| {row.title} | {row.measured} | {row.interval} | {row.wanted} | {row.verdict} |"
        for row in goal_rows(measures)
    ]
    return "\n".join(lines)
