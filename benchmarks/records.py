"""The contents of a benchmark's JSON: the machine, and the measurements by case and provider."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

OURS = "tcae_ops"
EAGER = "eager"
COMPILED = "torch.compile"
LOSES = "▼"
_OPS = ["warp", "blend_warp", "warp_l1", "blend_warp_l1"]  # in the order of reports

Record = dict[str, Any]
Group = dict[str, Record]  # the records of one case, by provider


def machine(measured: Record) -> str:
    """Return on what, with what and when it was measured, without the machine's name."""
    m = measured["machine_info"]["tcae"]
    kernels = "" if m["device"] == "cuda" else f"{m['kernels']} kernels, "
    versions = ", ".join(f"{name} {version}" for name, version in m["versions"].items())
    copying = f"copying {m['copy_gb_per_s']:.1f} GB/s"
    return f"{m['processor']}, {kernels}{copying}; {versions}; {measured['datetime'][:10]}"


def disturbance(measured: Record) -> str:
    """Return how busy other processes kept the machine, if that is known and matters."""
    shares = [b["extra_info"].get("cores_taken_elsewhere") for b in measured["benchmarks"]]
    known = [share for share in shares if share is not None]
    if not known or statistics.median(known) < 0.05:
        return ""
    return f" Other processes took {statistics.median(known):.0%} of the cores meanwhile."


def groups(measured: Record, variants: bool) -> dict[str, Group]:
    """Return the records by case, those of several providers or those of kinds of data."""
    found: dict[str, Group] = {}
    for benchmark in measured["benchmarks"]:
        record = benchmark["extra_info"] | {"seconds": benchmark["stats"]["median"]}
        if "op" in record and ("speed_over_fp32" in record) == variants:
            found.setdefault(benchmark["group"], {})[record["provider"]] = record
    in_order = sorted(found, key=lambda name: _OPS.index(next(iter(found[name].values()))["op"]))
    complete = {name: found[name] for name in in_order if OURS in found[name]}
    if not complete:
        raise ValueError("no measurement of an operator of ours in it")
    return complete


def advantage(group: Group, other: str) -> float:
    """Return how many times faster ours is, by the medians of alternating rounds."""
    if other == EAGER:
        return group[OURS]["speed_over_eager"]
    return 1 / group[other][f"speed_over_{OURS}"]


def own(name: str) -> bool:
    """Return whether this is our operator with another backend or instruction set."""
    return name.startswith(f"{OURS}, ")


def rivals(group: Group) -> list[str]:
    return [name for name in group if name != OURS and not own(name)]


def unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
