"""Predicts how long the CUDA kernels take on an H100, for want of one.

python tools/predict           # prints the table
python tools/predict --write   # writes it into docs/gpu.md

Two bounds: the bytes that must move, at the memory's rate, and the instructions that must be
issued, at the rate at which processors issue them. Needs nvcc and cuobjdump.
"""

from __future__ import annotations

import argparse
import sys

from instruction_count import ARCHITECTURE, ROOT, instructions_of, nvcc_version
from memory_traffic import eager_bytes, our_bytes

from tcae_ops.selftest.workloads import ALL_GRADIENTS, FLOW_GRADIENTS, FORWARD, LARGE, Workload

PAGE = ROOT / "docs/gpu.md"
BEGIN, END = "<!-- prediction: begin -->", "<!-- prediction: end -->"

# H100 SXM5, from its data sheet: 3.35 TB/s, and 67e12 fp32 operations per second, which is two for
# each of 132 processors x 128 lanes in a cycle. A lane is issued one instruction in a cycle.
BYTES_PER_SECOND = 3.35e12
PROCESSORS, LANES = 132, 128
CYCLES_PER_SECOND = 67e12 / (2 * PROCESSORS * LANES)
ISSUED_PER_SECOND = PROCESSORS * LANES * CYCLES_PER_SECOND

SPANS = [
    ("warp", FORWARD),
    ("warp", FLOW_GRADIENTS),
    ("warp", ALL_GRADIENTS),
    ("blend_warp", FORWARD),
    ("blend_warp", FLOW_GRADIENTS),
    ("warp_l1", FORWARD),
    ("warp_l1", FLOW_GRADIENTS),
    ("blend_warp_l1", FORWARD),
    ("blend_warp_l1", FLOW_GRADIENTS),
    ("blend_warp_l1", ALL_GRADIENTS),
]


def main() -> int:
    """Runs the command; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the table of docs/gpu.md")
    options = parser.parse_args()
    try:
        made = table()
        if options.write:
            text = PAGE.read_text()
            before, rest = text.split(BEGIN)
            PAGE.write_text(f"{before}{BEGIN}\n{made}\n{END}{rest.split(END)[1]}")
    except (OSError, ValueError) as error:
        print(f"predict: error: {error}", file=sys.stderr)
        return 2
    print(made)
    return 0


def table() -> str:
    """The table in Markdown, and what it was made with."""
    head = [
        "operator",
        "MB",
        "instructions per pixel",
        "µs by memory",
        "µs by issue",
        "**predicted µs**",
        "eager MB",
        "eager µs by memory",
        "eager / predicted",
    ]
    rows = [row(Workload(op, span, LARGE)) for op, span in SPANS]
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    size = "x".join(map(str, LARGE))
    return "\n".join(
        [
            f"**PREDICTION, NOT MEASURED**: {size}, fp32, on an H100 SXM5 at "
            f"{BYTES_PER_SECOND / 1e12:.2f} TB/s and {CYCLES_PER_SECOND / 1e9:.2f} GHz; "
            f"instructions as nvcc {nvcc_version()} makes them for {ARCHITECTURE}.",
            "",
            *(f"| {' | '.join(line)} |" for line in lines),
        ]
    )


def row(workload: Workload) -> list[str]:
    """One row of the table."""
    n, _, h, w = workload.shape
    moved, rival, of_pixel = our_bytes(workload), eager_bytes(workload), instructions_of(workload)
    memory = moved / BYTES_PER_SECOND
    issue = of_pixel * n * h * w / ISSUED_PER_SECOND
    by_eager = rival / BYTES_PER_SECOND
    times = [f"{1e6 * seconds:.1f}" for seconds in (memory, issue, max(memory, issue), by_eager)]
    ratio = by_eager / max(memory, issue)
    return [
        f"`{workload.op}` {workload.span}",
        f"{moved / 1e6:.1f}",
        f"{of_pixel:.0f}",
        *times[:2],
        f"**{times[2]}**",
        f"{rival / 1e6:.1f}",
        times[3],
        f"{ratio:.1f}x",
    ]


if __name__ == "__main__":
    sys.exit(main())
