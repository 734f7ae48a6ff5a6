"""Measures training by batch size: eager, as one CUDA graph, and with passes as CUDA graphs.

usage: python images_per_second.py DEVICE
"""

from __future__ import annotations

import sys
import time

import made_up
import torch

from tcae.training.device import Compiled, begin_step, wait_for

SECONDS = 2.0
BATCHES: dict[str, dict[Compiled, tuple[int, ...]]] = {
    "cuda": {"none": (32, 128, 512, 1024), "step": (32, 128, 512, 1024), "passes": (32, 512)},
    "cpu": {"none": (4,), "step": (4,), "passes": ()},  # compiling takes a CPU minutes
}


def rate(count: int, device: torch.device, compiled: Compiled) -> float:
    """Return images per second; each pair has two."""
    _, take = made_up.training("default", count, device, compiled=compiled)
    number = 0

    def steps(seconds: float, most: int, least: int = 2) -> float:
        nonlocal number
        begin, first = time.perf_counter(), number
        while number - first < least or (
            time.perf_counter() - begin < seconds and number - first < most
        ):
            begin_step(compiled == "passes")
            take(number)
            number += 1
        wait_for(device)
        return 2 * count * (number - first) / (time.perf_counter() - begin)

    steps(0, 5, least=5)  # compile, choose algorithms, record
    steps(0.2, 20)
    return steps(SECONDS, 200)


def main() -> None:
    """Measure all batch sizes, and print the best."""
    device = torch.device(sys.argv[1])
    fastest = (0.0, "")
    for compiled, batches in BATCHES[device.type].items():
        for count in batches:
            name = f"batch {count}, --compile {compiled}"
            try:
                found = rate(count, device, compiled)
            except (RuntimeError, ValueError, torch._dynamo.exc.TorchDynamoException) as error:
                print(f"{name}: {str(error).splitlines()[0]}")
                continue
            print(f"{name}: {found:.0f} images/s", flush=True)
            fastest = max(fastest, (found, name))
    assert fastest[0] > 0, "no batch size could be measured"
    print(f"preset default, {made_up.SIZE}x{made_up.SIZE}: {fastest[0]:.0f} images/s, {fastest[1]}")


if __name__ == "__main__":
    main()
