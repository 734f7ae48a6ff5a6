"""Measures training by batch size: eager, and with passes that run as CUDA graphs.

usage: python images_per_second.py DEVICE
"""

from __future__ import annotations

import sys
import time

import made_up
import torch

from tcae.training.device import begin_step, wait_for

SECONDS = 2.0
BATCHES = {"cuda": (32, 128, 512, 1024), "cpu": (4,)}
COMPILED = {"cuda": (32, 512), "cpu": ()}  # compiling takes a CPU minutes


def rate(count: int, device: torch.device, compiled: bool) -> float:
    """Return images per second; each pair has two."""
    _, take = made_up.training("default", count, device, compiled=compiled)
    number = 0

    def steps(seconds: float, most: float) -> float:
        nonlocal number
        begin, first = time.perf_counter(), number
        while number - first < 2 or (
            time.perf_counter() - begin < seconds and number - first < most
        ):
            begin_step(compiled)
            take(number)
            number += 1
        wait_for(device)
        return 2 * count * (number - first) / (time.perf_counter() - begin)

    steps(0, 4)  # compile, choose algorithms
    steps(0.2, 20)
    return steps(SECONDS, 200)


def main() -> None:
    """Measure all batch sizes, and print the best."""
    device = torch.device(sys.argv[1])
    fastest = (0.0, "")
    for compiled, batches in ((False, BATCHES), (True, COMPILED)):
        for count in batches[device.type]:
            name = f"batch {count}{', compiled' if compiled else ''}"
            try:
                found = rate(count, device, compiled)
            except (RuntimeError, torch._dynamo.exc.TorchDynamoException) as error:
                print(f"{name}: {str(error).splitlines()[0]}")
                continue
            print(f"{name}: {found:.0f} images/s", flush=True)
            fastest = max(fastest, (found, name))
    assert fastest[0] > 0, "no batch size could be measured"
    print(f"preset default, {made_up.SIZE}x{made_up.SIZE}: {fastest[0]:.0f} images/s, {fastest[1]}")


if __name__ == "__main__":
    main()
