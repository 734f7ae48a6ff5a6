"""Predict how long the CUDA kernels take on an H100, without having one.

python tools/predict           # print the table
python tools/predict --write   # write it into docs/gpu.md

The prediction is the larger of two bounds: the bytes to move over the memory's rate, and the
instructions to issue over the processors' rate. It needs nvcc and cuobjdump.
"""

from __future__ import annotations

import argparse
import sys

from instruction_count import ARCHITECTURE, ROOT, instructions_of, nvcc_version
from memory_traffic import eager_bytes, our_bytes

from tcae_ops.selftest.workloads import (
    ALL_GRADIENTS,
    CONTIGUOUS,
    FLOW_GRADIENTS,
    FORWARD,
    LARGE,
    TRAINING,
    Workload,
)

PAGE = ROOT / "docs/gpu.md"
BEGIN, END = "<!-- prediction: begin -->", "<!-- prediction: end -->"

# H100 SXM5, from its data sheet: 3.35 TB/s, and 67e12 fp32 operations per second. That is two per
# cycle for each of 132 processors x 128 lanes. A lane gets one instruction per cycle.
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
    """Run the command. Return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--write",
        action="store_true",
        help="also write the table into docs/gpu.md",
    )
    options = parser.parse_args()
    try:
        text = table()
        if options.write:
            before, rest = PAGE.read_text().split(BEGIN)
            PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}")
    except (OSError, ValueError) as error:
        print(f"predict: error: {error}", file=sys.stderr)
        return 2
    print(text)
    return 0


def table() -> str:
    """Return the table in Markdown, and what it was computed for."""
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
    rows = [
        row(Workload(op, span, LARGE, data=data))
        for data in (CONTIGUOUS, TRAINING)
        for op, span in SPANS
    ]
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
    """Return one row of the table."""
    n, _, h, w = workload.shape
    moved, rival, of_pixel = our_bytes(workload), eager_bytes(workload), instructions_of(workload)
    memory = moved / BYTES_PER_SECOND
    issue = of_pixel * n * h * w / ISSUED_PER_SECOND
    by_eager = rival / BYTES_PER_SECOND
    times = [f"{1e6 * seconds:.1f}" for seconds in (memory, issue, max(memory, issue), by_eager)]
    ratio = by_eager / max(memory, issue)
    return [
        f"`{workload.op}` {workload.span}" + f", {TRAINING}" * (workload.data == TRAINING),
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
