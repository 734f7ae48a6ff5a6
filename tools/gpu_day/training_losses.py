"""Takes training steps on a device and on the CPU, and compares the losses.

usage: python training_losses.py DEVICE PRESET

In a rehearsal the device is the CPU too, and operators run by their definition there.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext

import made_up
import torch

import tcae_ops
from tcae.training.device import Compiled, deterministic, wait_for

PAIRS = 8
FIRST = 1e-4  # largest relative difference of the first loss: fp32 without TF32, other sums
LATER = 0.05  # of all later ones: rounding grows from step to step


def losses(
    preset: str, device: torch.device, steps: int, compiled: Compiled = "none"
) -> tuple[list[float], float]:
    """Return the losses, and the seconds of a step after the first."""
    with deterministic(device):
        _, take = made_up.training(preset, PAIRS, device, "fp32", compiled)
        found = [take(0).read()]
        begin = time.perf_counter()
        outcomes = [take(number) for number in range(1, steps)]
        wait_for(device)
        seconds = (time.perf_counter() - begin) / max(steps - 1, 1)
        found += [outcome.read() for outcome in outcomes]
    assert all(numbers.moved for numbers in found), "a step was not finite"
    return [numbers.losses["loss"] for numbers in found], seconds


def check(apart: Sequence[float]) -> None:
    """Refuse relative differences that rounding does not explain.

    Raises:
        AssertionError: The first or a later one is too large.
    """
    assert apart[0] <= FIRST, f"the first loss is {apart[0]:.1e} from the CPU's, at most {FIRST:g}"
    assert max(apart) <= LATER, f"losses are {max(apart):.1e} from the CPU's, at most {LATER:g}"


def main() -> None:
    """Compare, and print both losses of each step."""
    device, preset = torch.device(sys.argv[1]), sys.argv[2]
    rehearsal = device.type == "cpu"
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    steps = 3 if rehearsal else 20
    here, seconds = losses(preset, device, steps)
    with tcae_ops.backend("reference") if rehearsal else nullcontext():
        there, _ = losses(preset, torch.device("cpu"), steps)
    apart = [abs(a - b) / abs(b) for a, b in zip(here, there, strict=True)]
    for number, values in enumerate(zip(here, there, apart, strict=True), 1):
        print("step {}: {:.6f} here, {:.6f} on the CPU, apart {:.1e}".format(number, *values))
    check(apart)
    print(
        f"{steps} steps of {PAIRS} pairs, loss {here[0]:.4f} to {here[-1]:.4f}, {apart[0]:.0e} "
        f"from the CPU's at first, {max(apart):.0e} at most; {1e3 * seconds:.1f} ms a step"
    )


if __name__ == "__main__":
    main()
