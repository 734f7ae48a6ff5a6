"""The report of a soak: Markdown to read, JSON with all that was seen."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from memory import LIMIT, Growth
from soak import Soak


def write_report(
    folder: Path, soak: Soak, differing: list[str], growing: list[Growth], command: str
) -> list[str]:
    """Write ``soak.md``, ``soak.json`` and ``memory.csv``, and return what should not be.

    Args:
        folder: Where to.
        soak: What happened.
        differing: What differs between both runs at their ends.
        growing: The memory of the processes that lived long enough.
        command: What repeats it.
    """
    problems = [*soak.problems, *(f"differs: {line}" for line in differing)]
    problems += [
        f"memory of {it.run}, {it.process}: {it.share:+.1%}"
        for it in growing
        if abs(it.share) > LIMIT
    ]
    text = _text(soak, problems, differing, growing, command)
    (folder / "soak.md").write_text(text)
    rows = ["seconds,run,process,step,bytes"]
    rows += [f"{s.seconds:.0f},{s.run},{s.process},{s.step},{s.memory}" for s in soak.samples]
    (folder / "memory.csv").write_text("\n".join(rows) + "\n")
    values = {
        "problems": problems,
        "steps": soak.disturbed.steps,
        "starts": soak.disturbed.starts,
        "statuses": soak.statuses,
        "happened": [
            {"seconds": round(seconds), "step": step, "what": str(what)}
            for seconds, step, what in soak.happened
        ],
        "memory": [asdict(it) | {"share": it.share} for it in growing],
    }
    (folder / "soak.json").write_text(json.dumps(values, indent=1) + "\n")
    return problems


def _text(
    soak: Soak, problems: list[str], differing: list[str], growing: list[Growth], command: str
) -> str:
    counts = Counter(str(what) for _, _, what in soak.happened)
    minutes = soak.samples[-1].seconds / 60 if soak.samples else 0
    lines = [
        "# A soak",
        "",
        f"`{command}`",
        "",
        f"{soak.disturbed.steps} steps, twice at the same time, in {minutes:.0f} minutes. One run "
        f"was disturbed {len(soak.happened)} times; torchrun was started {soak.disturbed.starts} "
        "times for it.",
        "",
        "Both runs ended with " + ("other bits." if differing else "the same bits."),
        "",
        *([f"- **{line}**" for line in problems] or ["All is as it should be."]),
        "",
        "| what happened | times |",
        "|---|---:|",
        *(f"| {what} | {count} |" for what, count in sorted(counts.items())),
        "",
        "| process | minutes | MB after the warm-up | at the end | | peak |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for it in growing:
        sizes = f"{it.first / 1e6:.1f} | {it.last / 1e6:.1f} | {it.share:+.2%}"
        peak = f"{it.peak / 1e6:.1f}"
        lines.append(f"| {it.run}: {it.process} | {it.minutes:.0f} | {sizes} | {peak} |")
    return "\n".join(lines) + "\n"
