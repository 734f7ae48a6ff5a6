"""The report: what was checked and measured, on which machine, and what could not be."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.utils.collect_env

from tcae_ops import library
from tcae_ops.selftest.places import GPU
from tcae_ops.selftest.speed import EAGER, Measurement
from tcae_ops.version import VERSION

PASSED, FAILED, NOT_RUN = "passed", "FAILED", "not run"


@dataclass(frozen=True)
class Outcome:
    """The outcome of a check."""

    check: str
    where: str  # the backend and its device
    status: str  # PASSED, FAILED or NOT_RUN
    note: str
    seconds: float = 0.0
    details: str = ""  # of a failure

    def __str__(self) -> str:
        return f"{self.where:<18} {self.check:<22} {self.status:<8} {self.note}"


@dataclass
class Report:
    """Everything that is known so far."""

    outcomes: list[Outcome] = field(default_factory=list)
    copy_bandwidth: float = 0.0  # bytes per second
    speeds: list[Measurement] = field(default_factory=list)
    finished: bool = False

    @property
    def failures(self) -> list[Outcome]:
        """The checks that failed."""
        return [outcome for outcome in self.outcomes if outcome.status == FAILED]

    def summary(self) -> str:
        """Return the result in one line."""
        count = {s: sum(o.status == s for o in self.outcomes) for s in (PASSED, FAILED, NOT_RUN)}
        cut_short = "" if self.finished else "; stopped before the end"
        return ", ".join(f"{n} {status}" for status, n in count.items()) + cut_short

    def write(self, path: Path) -> None:
        """Write the report as Markdown."""
        parts = ["# Self-test of tcae_ops", f"**{self.summary()}**"]
        parts += [_table(("", ""), environment().items())]
        done = [o for o in self.outcomes if o.status != NOT_RUN]
        rows = [(o.where, o.check, o.status, o.note, f"{o.seconds:.1f}") for o in done]
        parts += ["## Checks", _table(("backend", "check", "result", "", "seconds"), rows)]
        left = [(o.where, o.check, o.note) for o in self.outcomes if o.status == NOT_RUN]
        if left:
            parts += ["## Not run", _table(("backend", "check", "why"), left)]
        if self.speeds:
            parts += ["## Speed", self._speed()]
        for o in self.failures:
            parts += [f"## Failed: {o.check}, {o.where}", f"```\n{o.details or o.note}\n```"]
        path.write_text("\n\n".join(parts) + "\n")

    def _speed(self) -> str:
        eager = {m.workload: m.timing for m in self.speeds if m.provider == EAGER}
        rows = []
        for m in self.speeds:
            if m.timing is None:
                rows.append((str(m.workload), m.provider, f"not measured: {m.problem}", *[""] * 5))
                continue
            rival, rate = eager.get(m.workload), m.bytes / m.timing.cold
            share = rate / self.copy_bandwidth
            times = [f"{1e3 * seconds:.3g}" for seconds in (m.timing.cold, m.timing.warm)]
            over = [] if rival is None else [rival.cold / m.timing.cold, rival.warm / m.timing.warm]
            faster = [f"{x:.2f}x" for x in over] or ["", ""]
            row = m.provider, *times, f"{rate / 1e9:.4g}", f"{share:.0%}", *faster
            rows.append((str(m.workload), *row))
        head = "operator", "provider", "cold, ms", "warm, ms", "GB/s, cold", "of copy speed"
        over_eager = "speed over eager, cold", "speed over eager, warm"
        return (
            f"Copying memory moves {self.copy_bandwidth / 1e9:.4g} GB/s. GB/s counts the bytes "
            "that the operator cannot avoid moving. Cold means that nothing is in the caches.\n\n"
            + _table((*head, *over_eager), rows)
        )


def environment() -> dict[str, str]:
    """Return versions and devices, but no paths and no names of the machine or its user."""
    found = {
        "tcae_ops": VERSION,
        "torch": f"{torch.__version__} (CUDA {torch.version.cuda}, HIP {torch.version.hip})",
        "triton": _version("triton"),
        "Python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": f"{_processor()}, {torch.get_num_threads()} threads on {os.cpu_count()} cores",
        "GPU": _gpu(),
        "driver": _driver(),
    }
    for it in (library.CPU, library.CUDA):
        found[f"library for {it.device}"] = it.problem or _built(it)
    settings = {k: v for k, v in os.environ.items() if k.startswith(("TCAE_OPS_", "TRITON_"))}
    found["settings"] = ", ".join(f"{k}={v}" for k, v in sorted(settings.items())) or "none"
    return found


def _built(it: library.Library) -> str:
    kind = f"for torch {it.build.get('torch')}"
    if it.device == "cuda":
        return f"{kind}, architectures {it.build.get('cuda', {}).get('architectures')}"
    return f"{kind}, instruction set {torch.ops.tcae_ops.simd_level()}"


def _gpu() -> str:
    if not torch.cuda.is_available():
        return "none"
    it = torch.cuda.get_device_properties(GPU)
    memory, cache = it.total_memory / 2**30, it.L2_cache_size / 2**20
    return (
        f"{it.name}, compute capability {it.major}.{it.minor}, {it.multi_processor_count} "
        f"processors, {memory:.0f} GiB, L2 {cache:.0f} MiB"
    )


def _driver() -> str:
    if not torch.cuda.is_available():
        return "none"
    return torch.utils.collect_env.get_nvidia_driver_version(torch.utils.collect_env.run) or "?"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(x.replace('|', '/') for x in line)} |" for line in lines)
