"""The report: a table of all steps, and below it what each printed.

Nothing of the packages is used here: it is written even if they cannot be built or imported.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from running import FAILED, NOT_RUN, PASSED, Result

_LONGEST = 12_000  # characters of one step's output


class Report:
    """The results so far, in a Markdown file that is whole after every step.

    Args:
        path: The file, replaced if it exists.
        rehearsal: Whether no GPU took part.
    """

    def __init__(self, path: Path, rehearsal: bool) -> None:
        self.path = path
        self.results: list[Result] = []
        self._rehearsal, self._finished = rehearsal, False
        self._write()

    @property
    def failed(self) -> bool:
        """Whether a step failed."""
        return any(result.status == FAILED for result in self.results)

    def add(self, result: Result) -> None:
        """Add the result of a step."""
        self.results.append(result)
        self._write()

    def finish(self) -> None:
        """Say that this was all."""
        self._finished = True
        self._write()

    def summary(self) -> str:
        """Return how many steps passed, failed and were not run."""
        count = Counter(result.status for result in self.results)
        return ", ".join(f"{count[status]} {status}" for status in (PASSED, FAILED, NOT_RUN))

    def _write(self) -> None:
        title = "# A rehearsal without a GPU" if self._rehearsal else "# The first day on a GPU"
        cut_short = "" if self._finished else "; stopped before the end"
        rows = [["step", "result", "seconds", ""], ["---"] * 4]
        rows += [[r.name, r.status, f"{r.seconds:.0f}", r.note] for r in self.results]
        table = "\n".join(f"| {' | '.join(x.replace('|', '/') for x in row)} |" for row in rows)
        parts = [title, f"**{self.summary()}{cut_short}**", table]
        parts += [_section(result) for result in self.results if result.output]
        part = self.path.with_suffix(".part")
        part.write_text("\n\n".join(parts) + "\n")
        os.replace(part, self.path)


def _section(result: Result) -> str:
    text = result.output
    if len(text) > _LONGEST:
        half = _LONGEST // 2
        text = f"{text[:half]}\n[{len(text) - _LONGEST} characters left out]\n{text[-half:]}"
    return f"## {result.name}\n\n````\n{text}\n````"
