"""The goals of the operators, beside the measured values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.records import (
    COMPILED,
    EAGER,
    LOSES,
    OURS,
    Group,
    Record,
    advantage,
    disturbance,
    groups,
    machine,
)
from benchmarks.tables import factor, table

LARGE, TINY = "16x3x256x256", "1x3x32x32"
FORWARD, FLOWS, IMAGE = "forward", "forward+backward", "forward+backward+image"
SHARE = 0.01  # of the image: memory beyond outputs and gradients
KEPT = 0.7  # of the speed of contiguous fp32, for other types and layouts
# The process's memory grows by pages of 4 KiB, which is many percent of a small image.
_MEASURABLE = 2**20


@dataclass(frozen=True)
class Speed:
    """A speed-up that every case of some operators, passes, sizes and flows must reach."""

    what: str
    against: str
    least: float
    runs: tuple[tuple[str, str], ...] = ()  # operators and passes; empty for all
    size: str = LARGE
    flow: str = "smooth"

    def figures(self, compared: dict[str, Group]) -> Iterator[tuple[float, str]]:
        """Yield the speed-up and the name of each measured case."""
        for group in compared.values():
            r = group[OURS]
            chosen = not self.runs or (r["op"], r["span"]) in self.runs
            chosen = chosen and (r["size"], r["flow"]) == (self.size, self.flow)
            if chosen and self.against in group:
                yield advantage(group, self.against), f"`{r['op']}` {r['span']}"


MAIN = (
    ("blend_warp_l1", FORWARD),
    ("blend_warp_l1", FLOWS),
    ("warp", FORWARD),
    ("warp", IMAGE),
)
SPEEDS = [
    Speed("`blend_warp_l1` forward", EAGER, 6, MAIN[:1]),
    Speed("`blend_warp_l1` forward + backward", EAGER, 7, MAIN[1:2]),
    Speed("`blend_warp_l1` forward + backward", COMPILED, 20, MAIN[1:2]),
    Speed("`warp` forward", "F.grid_sample", 2, MAIN[2:3]),
    Speed("`warp` forward", "cv2.remap", 1, MAIN[2:3]),
    Speed("`warp` forward + backward, image too", EAGER, 3, MAIN[3:]),
    Speed("rough flows, each of these", EAGER, 2, MAIN, flow="rough"),
    Speed(f"{TINY}, each operator", EAGER, 1, size=TINY),
]


def report(measured: Record) -> str:
    """Return the table of goals, in Markdown."""
    compared = groups(measured, variants=False)
    rows = [_row(goal, compared) for goal in SPEEDS] + [_memory(compared)]
    if any("speed_over_fp32" in b["extra_info"] for b in measured["benchmarks"]):
        rows.append(_kinds(groups(measured, variants=True)))
    head = ["operator (fp32, 16x3x256x256, smooth flows)", "against", "goal", "measured"]
    note = f"Medians of rounds in turns on {machine(measured)}.{disturbance(measured)}"
    return f"{note} {LOSES}: missed.\n\n{table(head, rows)}"


def _row(goal: Speed, compared: dict[str, Group]) -> list[str]:
    figures = list(goal.figures(compared))
    measured = "not measured"
    if figures:
        worst, which = min(figures)
        measured = factor(worst, goal.least) + (f" ({which})" if len(figures) > 1 else "")
    return [goal.what, goal.against, f">= {goal.least:g}x", measured]


def _memory(compared: dict[str, Group]) -> list[str]:
    shares = [
        (r["extra_bytes"] / r["image_bytes"], name)
        for name, r in ((name, group[OURS]) for name, group in compared.items())
        if r["extra_bytes"] is not None and r["image_bytes"] >= _MEASURABLE
    ]
    row = ["memory beyond results, every operator and size", "the image", f"<= {SHARE:.0%}"]
    if not shares:
        return [*row, "not measured"]
    worst, which = max(shares)
    return [*row, _mark(f"{worst:.2%} ({which})", worst <= SHARE)]


def _kinds(variants: dict[str, Group]) -> list[str]:
    worst, which = min((g[OURS]["speed_over_fp32"], name) for name, g in variants.items())
    text = _mark(f"{worst:.0%} ({which})", worst >= KEPT)
    return ["other types and layouts", "contiguous fp32", f">= {KEPT:.0%}", text]


def _mark(text: str, reached: bool) -> str:
    return text if reached else f"**{text} {LOSES}**"
