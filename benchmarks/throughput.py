"""The goals of training on one machine, beside the measured values."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.records import LOSES, Record, disturbance, machine
from benchmarks.tables import factor, table

FASTER = {
    ("official", "fp32"): 1.5,
    ("default", "bf16"): 3.5,
}  # over the released code
MEMORY = 0.6  # of that step's memory
WAITING = 0.05  # of the training time, waiting for data
LOADED = 1500  # frames per second, aligned, 256x256
_STAGES = ("decode", "detect", "align", "write")
_DECODED = 25  # decoded per packed frame: the packer keeps 1 frame per second of 25
_WHAT = {"official": "same mathematics", "default": "preset `default`"}


def report(measured: Record) -> str | None:
    """Return goals and measurements in Markdown, or None if no training step was measured."""
    infos = [benchmark["extra_info"] for benchmark in measured["benchmarks"]]
    steps = [info for info in infos if "speed_over_released" in info]
    if not steps:
        return None
    plain = [info for info in steps if not info["option"]]
    loading = [info for info in infos if info.get("workers") and "frames_per_second" in info]
    waits = [info["data_wait_share"] for info in infos if "data_wait_share" in info]
    rows = [*_speeds(plain), *_memory(plain), _waiting(waits), _loading(loading)]
    goals = table(["the worst of all sizes", "goal", "measured"], rows)
    sections = [
        f"Medians of rounds in turns on {machine(measured)}.{disturbance(measured)} "
        f"{LOSES}: missed.",
        goals,
        f"Steps beside the released code's:\n\n{_steps(steps)}",
    ]
    frames = [b for b in measured["benchmarks"] if "frames_per_core_second" in b["extra_info"]]
    if frames:
        sections.append(f"Loader and packer, on one core:\n\n{_frames(frames)}")
    return "\n\n".join(sections)


def _speeds(steps: list[Record]) -> Iterable[list[str]]:
    for (preset, precision), least in FASTER.items():
        speeds = [
            info["speed_over_released"]
            for info in steps
            if (info["preset"], info["precision"]) == (preset, precision)
        ]
        name = f"{_WHAT[preset]}, {precision}: images/s, released code = 1"
        yield [name, f">= {least:g}x", factor(min(speeds), least) if speeds else "not measured"]


def _memory(steps: list[Record]) -> Iterable[list[str]]:
    for preset, what in _WHAT.items():
        shares = [info["memory_over_released"] for info in steps if info["preset"] == preset]
        known = [share for share in shares if share]
        worst = max(known, default=None)
        name = f"{what}: peak memory of a step, released code = 1"
        yield [name, f"<= {MEMORY:g}x", _at_most(worst, MEMORY, "{:.2f}x")]


def _waiting(shares: list[float]) -> list[str]:
    name = "time of training that is spent waiting for data, 2 workers, 256x256"
    return [name, f"< {WAITING:.0%}", _at_most(max(shares, default=None), WAITING, "{:.1%}")]


def _loading(infos: list[Record]) -> list[str]:
    name = "loader alone, 2 workers: frames/s of 256x256"
    if not infos:
        return [name, f">= {LOADED}", "not measured"]
    rate = min(info["frames_per_second"] for info in infos)
    text = f"{rate:.0f}"
    return [name, f">= {LOADED}", text if rate >= LOADED else f"**{text} {LOSES}**"]


def _at_most(value: float | None, most: float, form: str) -> str:
    if value is None:
        return "not measured"
    text = form.format(value)
    return text if value <= most else f"**{text} {LOSES}**"


def _steps(steps: list[Record]) -> str:
    rows = [
        [
            f"`{i['preset']}` {i['precision']}{i['option']}, "
            f"{i['batch_size']} of side {i['image_size']}",
            f"{i['images_per_second']:.1f}",
            factor(i["speed_over_released"]),
            f"{i['memory_over_released']:.2f}x" if i["memory_over_released"] else "",
        ]
        for i in steps
    ]
    return table(["step", "images/s", "speed", "memory"], rows)


def _frames(benchmarks: list[Record]) -> str:
    rows = []
    for benchmark in benchmarks:
        info = benchmark["extra_info"]
        rate = info["frames_per_core_second"]
        rows.append([_name(benchmark), f"{1e3 / rate:.2f}", f"{rate:.0f}"])
    milliseconds = {
        b["extra_info"]["stage"]: 1e3 / b["extra_info"]["frames_per_core_second"]
        for b in benchmarks
        if "stage" in b["extra_info"]
    }
    if milliseconds.keys() == set(_STAGES):
        whole = sum(milliseconds.values()) + (_DECODED - 1) * milliseconds["decode"]
        name = f"packing one frame of {_DECODED} that are decoded"
        rows.append([name, f"{whole:.2f}", f"{1e3 / whole:.0f}"])
    return table(["", "ms of a core's work for a frame", "frames/s"], rows)


def _name(benchmark: Record) -> str:
    stage = benchmark["extra_info"].get("stage")
    if stage:
        return f"packing: {stage}"
    return str(benchmark["extra_info"].get("what", benchmark["name"]))
