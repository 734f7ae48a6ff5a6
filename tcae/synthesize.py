"""``python -m tcae.synthesize``: render talking heads of known action units, pose and flow."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import tyro

from tcae.cli import command
from tcae.cli.displays import PackDisplay
from tcae.data.labels import LABELS
from tcae.data.packing import remove_pack
from tcae.data.synthetic.packed import SHEETS, TRUTH, synthesize
from tcae.data.synthetic.world import World


@dataclass(frozen=True)
class SynthesizeOptions:
    """Render talking heads of known action units, pose and flow, and pack them.

    Started again with the same options, the command completes an unfinished data set at --out.
    The same options give the same pictures, whatever the number of workers.
    """

    out: command.OutOption
    world: Annotated[World, tyro.conf.arg(name="")] = field(default_factory=World)
    workers: Annotated[int, tyro.conf.arg(help="Number of worker processes.")] = os.cpu_count() or 1
    overwrite: command.OverwriteOption = False


def make(options: SynthesizeOptions) -> int:
    """Run ``tcae synthesize`` and return its exit status."""
    if options.workers < 1:
        raise ValueError(f"--workers must be at least 1, not {options.workers}")
    if options.overwrite:
        _remove(options)
    world = options.world
    with PackDisplay(world.identities * world.videos, "tcae.synthesize") as display:
        rows = synthesize(world, options.out, options.workers, display.report)
    packed = [row for row in rows if row.status == "packed"]
    print(
        f"{options.out}: {sum(row.faces for row in packed)} faces in {len(packed)} videos of "
        f"{world.identities} people; look at {options.out / SHEETS}"
    )
    return command.DONE if len(packed) == len(rows) else command.SOME_FAILED


def _remove(options: SynthesizeOptions) -> None:
    """Delete what an earlier run wrote and nothing else."""
    remove_pack(options.out)
    sheets = options.out / SHEETS
    for path in [options.out / LABELS, options.out / TRUTH, *sheets.glob("*.png")]:
        path.unlink(missing_ok=True)
    if sheets.is_dir() and not any(sheets.iterdir()):
        sheets.rmdir()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; ``argv`` defaults to the command line."""
    return command.run(make, SynthesizeOptions, prog="tcae.synthesize", argv=argv)


if __name__ == "__main__":
    sys.exit(main())
