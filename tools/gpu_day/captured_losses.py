"""Takes training steps that are replayed as one CUDA graph, and the same ones as they are.

usage: python captured_losses.py DEVICE

In a rehearsal there are no graphs, so both are taken as they are.
"""

from __future__ import annotations

import sys

import torch
from plan import PRESETS
from training_losses import losses

from tcae.training.device import Compiled


def main() -> None:
    """Compare the losses, which must have the same bits, and print how far they are apart."""
    device = torch.device(sys.argv[1])
    rehearsal = device.type == "cpu"
    steps = 3 if rehearsal else 20
    compiled: Compiled = "none" if rehearsal else "step"
    different = []
    for preset in PRESETS:
        plain, _ = losses(preset, device, steps)
        replayed, seconds = losses(preset, device, steps, compiled)
        apart = max(abs(a - b) / abs(b) for a, b in zip(replayed, plain, strict=True))
        print(f"{preset}: apart {apart:.1e}, {1e3 * seconds:.1f} ms a step with recording")
        if apart > 0:
            different.append(preset)
    assert not different, f"replayed losses have other bits: {', '.join(different)}"
    kind = "taken twice" if rehearsal else "recorded and replayed"
    print(f"{len(PRESETS)} presets, {steps} steps {kind}: the same bits")


if __name__ == "__main__":
    main()
