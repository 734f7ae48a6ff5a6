"""Takes training steps in several processes, started by torchrun, and compares their weights.

usage: torchrun ... two_processes.py DEVICE
"""

from __future__ import annotations

import os
import sys

import made_up
import torch
import torch.distributed as dist

PAIRS, STEPS = 4, 3


def main() -> None:
    """Train as one of the processes."""
    device = torch.device(sys.argv[1])
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend)
    model, take = made_up.training("default", PAIRS, device)
    losses = [take(number).read().losses["loss"] for number in range(STEPS)]
    own = torch.stack([p.detach().double().sum() for p in model.parameters()])
    first = own.clone()
    dist.broadcast(first, 0)
    assert torch.equal(own, first), "the weights of the processes differ"
    if dist.get_rank() == 0:
        print(
            f"{dist.get_world_size()} processes by {backend}, {STEPS} steps, same weights, "
            f"loss {losses[0]:.4f} to {losses[-1]:.4f}",
            flush=True,
        )
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
