"""Hours of training that is killed at random moments, beside the same training in peace.

python tools/soak --minutes 120

Renders a few people and trains a tiny model on them with two processes, twice at the same time.
One of the runs is killed, stopped and started again until its steps are done. At the end both must
have the same weights, log and measures to the bit, memory must be flat, and no process and no file
may be left. The report is `soak.md` in the directory of `--out`; the exit status is 1 if
something is not as it should be.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from comparison import differences
from disturbances import Fate
from memory import growths
from soak import Soak
from soak_report import write_report
from soaked_run import BATCH_SIZE, ROOT, SoakedRun

_PEOPLE = "--identities 24 --videos 2 --frames 8 --image-size 32 --workers 1"
_TIMED = 100  # steps that are timed to find out how many fit
_SHARE = 0.3  # of the time alone; two runs share the cores, and starting takes time
_LONG = 0.25  # of the time: a process that trained for so long must have flat memory


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="tools/soak", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=120.0,
        help="about how long, if nobody else needs the cores later (default: %(default)g)",
    )
    parser.add_argument("--out", type=Path, default=Path("soak"), help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="what happens when (default: 0)")
    parser.add_argument("--steps", type=int, help="of each run (default: as many as should fit)")
    parser.add_argument(
        "--pause",
        type=float,
        default=40.0,
        help="mean seconds of processor time between two kills (default: %(default)g)",
    )
    parser.add_argument("--ranks", type=int, default=2, help="training processes (default: 2)")
    options = parser.parse_args(argv)
    out = options.out.resolve()
    if out.exists() and any(out.iterdir()) and not (out / "soak.log").exists():
        parser.exit(2, f"{parser.prog}: error: --out {out}: holds other things\n")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    with (out / "soak.log").open("w") as log:

        def tell(line: str) -> None:
            print(line, file=log, flush=True)
            print(line, flush=True)

        problems = _soak(options, out, tell)
        for line in problems:
            tell(f"NOT AS IT SHOULD BE: {line}")
        tell(f"{len(problems)} problems; report: {out / 'soak.md'}")
    return 1 if problems else 0


def _soak(options: argparse.Namespace, out: Path, tell: Callable[[str], None]) -> list[str]:
    data = out / "data"
    render = [sys.executable, "-m", "tcae.synthesize", *_PEOPLE.split(), "--out", str(data)]
    subprocess.run(render, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    steps = options.steps or _steps_that_fit(out, data, options)
    tell(f"{steps} steps in {options.ranks} processes, twice")
    reference = SoakedRun(out, "reference", data, steps, options.ranks)
    disturbed = SoakedRun(out, "disturbed", data, steps, options.ranks)
    fate = Fate(options.seed, options.pause)
    soak = Soak(reference, disturbed, fate)
    soak.run(tell)
    left = [*_shared_memory(soak.pids), *_temporary_files(out / "temporary")]
    soak.problems += [f"left over: {name}" for name in left]
    differing = differences(reference.path, disturbed.path)
    growing = growths(soak.samples, steps, _LONG * options.minutes)
    command = "python tools/soak " + " ".join(
        f"--{name} {value}" for name, value in vars(options).items() if value and name != "out"
    )
    return write_report(out, soak, differing, growing, command)


def _steps_that_fit(out: Path, data: Path, options: argparse.Namespace) -> int:
    run = SoakedRun(out, "timing", data, _TIMED, options.ranks)
    run.start()
    while run.status() is None:
        time.sleep(1)
    if run.status():
        raise SystemExit(f"tools/soak: error: the timed run failed, see {run.log}")
    rate = json.loads((run.path / "summary.json").read_text())["images_per_second"]
    return max(round(options.minutes * 60 * _SHARE * rate / BATCH_SIZE), _TIMED)


def _shared_memory(pids: set[int]) -> list[str]:
    """Return the shared memory that processes have left, by the number in its name."""
    names = sorted(path.name for path in Path("/dev/shm").glob("torch_*"))
    return [name for name in names if int(name.split("_")[1]) in pids]


def _temporary_files(folder: Path) -> list[str]:
    """Return the temporary files that are not what torch and Python leave when they are killed."""
    theirs = ("torchelastic_", "torchinductor_", "pymp-")
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(theirs))


if __name__ == "__main__":
    sys.exit(main())
