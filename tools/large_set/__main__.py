"""Pack, open, train, resume and extract with VoxCeleb2's numbers of people, videos and clips.

python tools/large_set --out large

Makes a tree of 1.1 million videos, all links to a few, and a packed set of as many clips with real
shards for 1 % of it. Measures memory, times and files, and writes `large_set.json` beside them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from made_up import Shape, write_packed, write_tree
from watched import watch

_HERE = Path(__file__).resolve().parent
_MODEL = (
    "--image-size 32 --batch-size 64 --device cpu --model.base-filters 4 --logbook.every 1 "
    "--model.embedding-size 8 --validation.every 1000000 --validation.pairs 8 --workers 2"
)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="tools/large_set", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--out", type=Path, required=True, help="empty directory for all files")
    parser.add_argument("--share", type=float, default=1.0, help="of VoxCeleb2 (default: 1)")
    parser.add_argument(
        "--seconds", type=float, default=20, help="that packing and extraction run (default: 20)"
    )
    options = parser.parse_args(argv)
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        parser.exit(2, f"{parser.prog}: error: --out {out}: not empty\n")
    os.environ["PYTHONPATH"] = str(_HERE.parents[1])
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    shape, found = Shape().scaled(options.share), {}

    def note(name: str, measure: Callable[[], Any]) -> None:
        begin = time.monotonic()
        found[name] = measure()
        print(f"{name}: {found[name]} ({time.monotonic() - begin:.0f} s)", flush=True)
        (out / "large_set.json").write_text(json.dumps(found, indent=1) + "\n")

    note("shape", lambda: asdict(shape))
    note("making the packed set", lambda: write_packed(out / "packed", shape))
    note("opening it first", lambda: _sample(out))
    note("opening it again", lambda: _sample(out))
    for name in ("training", "resuming"):
        note(name, lambda: _train(out))
    note("making the tree", lambda: write_tree(out / "tree", shape))
    for name in ("packing", "packing on"):
        note(name, lambda: _pack(out, options.seconds))
    for name in ("extracting", "extracting on"):
        note(name, lambda: _extract(out, options.seconds))
    shutil.rmtree(out / "tree")
    return 0


def _sample(out: Path) -> dict[str, Any]:
    command = [sys.executable, str(_HERE / "sampling.py"), str(out / "packed")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


def _train(out: Path) -> dict[str, Any]:
    """Train some steps, from the start or from the checkpoint that is there."""
    lines = out / "run" / "metrics.jsonl"
    before = _count(lines)
    command = [sys.executable, "-m", "tcae.train", *_MODEL.split(), "--steps", "1000000"]
    command += ["--data", str(out / "packed"), "--out", str(out / "run"), "--resume", "auto"]
    return asdict(watch(command, out / "train.log", lambda: _count(lines) > before, 10.0))


def _pack(out: Path, seconds: float) -> dict[str, Any]:
    """Pack the tree for some seconds, or go on with it."""
    shards = out / "small" / "shards"
    before = {path: path.stat().st_size for path in shards.glob("*.bin")}

    def ready() -> bool:
        return any(path.stat().st_size > before.get(path, 8) for path in shards.glob("*.bin"))

    command = [sys.executable, "-m", "tcae.pack", str(out / "tree"), "--out", str(out / "small")]
    command += ["--aligned", "--image-size", "64", "--workers", "2"]
    seen = asdict(watch(command, out / "pack.log", ready, seconds))
    return seen | {"bytes": sum(path.stat().st_size for path in shards.glob("*"))}


def _extract(out: Path, seconds: float) -> dict[str, Any]:
    """Extract from the tree for some seconds, or go on with it."""
    table = out / "table.csv"
    partial = table.with_name(f"{table.name}.partial")
    before = partial.stat().st_size if partial.exists() else 0
    command = [sys.executable, "-m", "tcae.extract", str(out / "tree"), "--out", str(table)]
    command += ["--encoder", "synthetic-64", "--aligned", "--device", "cpu"]
    command += ["--resume"] if partial.exists() else []
    seen = asdict(
        watch(
            command,
            out / "extract.log",
            lambda: partial.exists() and partial.stat().st_size > before,
            seconds,
        )
    )
    return seen | {"rows": _count(partial)}


def _count(path: Path) -> int:
    return len(path.read_bytes().splitlines()) if path.exists() else 0


if __name__ == "__main__":
    sys.exit(main())
