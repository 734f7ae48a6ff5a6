"""Print what was built and what can run here: ``python -m tcae_ops``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import torch

from tcae_ops import backends, library
from tcae_ops.version import VERSION


def main() -> None:
    """Print the report, or as much of it as the reader of a pipe waits for."""
    try:
        print("\n".join(_report()), flush=True)
    except BrokenPipeError:
        # What is still in the buffer goes nowhere. Else it would fail again when Python exits.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def _report() -> Iterator[str]:
    yield f"tcae_ops {VERSION} on torch {torch.__version__}"
    for it in (library.CPU, library.CUDA):
        yield from _library(it)
    yield "backends (the first usable one runs):"
    for name in backends.BACKENDS:
        on_gpu = name in ("cuda", "triton")
        reason = backends.why_not(name, torch.device("cuda" if on_gpu else "cpu"))
        if reason is None and on_gpu and not torch.cuda.is_available():
            reason = "there is no CUDA device"
        yield f"  {name:<10} {'usable' if reason is None else 'not usable: ' + reason}"
    yield "on other devices (mps, xpu) only reference runs, and says so"


def _library(it: library.Library) -> list[str]:
    lines = [f"library for {it.device}: {it.path or 'not built'}"]
    if it.path is None:
        lines.append(f"  reason: {it.problem}")
        return lines
    lines.append(f"  compiled against torch {it.build.get('torch')}, for torch >= 2.10")
    if it.device == "cuda":
        lines.append(f"  architectures: {it.build.get('cuda', {}).get('architectures')}")
    elif it.problem is None:
        lines.append(f"  instruction set: {torch.ops.tcae_ops.simd_level()}")
    lines.append(f"  {'loaded' if it.problem is None else 'not loaded: ' + it.problem}")
    return lines


if __name__ == "__main__":
    main()
